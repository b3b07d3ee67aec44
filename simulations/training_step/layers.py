"""Local training of one device after the other, each with what it needs near the processor: loops over dense layers.

Kernels, hidden units and their errors lie row after row in flat arrays, each row filled up with zeros to whole lanes. Every product of
matrices, forward or backward, is one loop, which sums eight rows of it at once.
"""

from __future__ import annotations

import math

import numpy as np

from shared.arrays import Floats, Ints, as_declared

from ..life.compiled import contracted
from .lanes import N_LANES, gated, load, minus, plus, store

#: Where in the flat arrays a layer begins: its kernel, its bias, its kernel turned round, and the hidden units that it reads.
_KERNEL, _BIAS, _TURNED, _UNITS = range(4)


@contracted
def _product(
    left: Floats,
    left_at: int,
    to_next_row: int,
    to_next_step: int,
    n_rows: int,
    n_steps: int,
    right: Floats,
    right_at: int,
    start: Floats,
    start_at: int,
    width: int,
    out: Floats,
    out_at: int,
) -> None:
    """out (n_rows, width) = start (width,) + left (n_rows, n_steps) @ right (n_steps, width), each from its place in an array on.

    Of the last rows, the very last stands in for those that are not there.
    """
    last = n_rows - 1
    for first in range(0, n_rows, 8):
        a, b, c, d = first, min(first + 1, last), min(first + 2, last), min(first + 3, last)
        e, f, g, h = min(first + 4, last), min(first + 5, last), min(first + 6, last), min(first + 7, last)
        a_at, b_at, c_at, d_at = a * to_next_row, b * to_next_row, c * to_next_row, d * to_next_row
        e_at, f_at, g_at, h_at = e * to_next_row, f * to_next_row, g * to_next_row, h * to_next_row
        for column in range(0, width, N_LANES):
            begins = load(start, start_at + column)
            sum_a, sum_b, sum_c, sum_d = begins, begins, begins, begins
            sum_e, sum_f, sum_g, sum_h = begins, begins, begins, begins
            at, beside = left_at, right_at + column
            for _ in range(n_steps):
                lanes = load(right, beside)
                sum_a = plus(sum_a, left, at + a_at, lanes)
                sum_b = plus(sum_b, left, at + b_at, lanes)
                sum_c = plus(sum_c, left, at + c_at, lanes)
                sum_d = plus(sum_d, left, at + d_at, lanes)
                sum_e = plus(sum_e, left, at + e_at, lanes)
                sum_f = plus(sum_f, left, at + f_at, lanes)
                sum_g = plus(sum_g, left, at + g_at, lanes)
                sum_h = plus(sum_h, left, at + h_at, lanes)
                at, beside = at + to_next_step, beside + width
            to = out_at + column
            store(out, to + a * width, sum_a)
            store(out, to + b * width, sum_b)
            store(out, to + c * width, sum_c)
            store(out, to + d * width, sum_d)
            store(out, to + e * width, sum_e)
            store(out, to + f * width, sum_f)
            store(out, to + g * width, sum_g)
            store(out, to + h * width, sum_h)


@contracted
def _gate(values: Floats, at: int, gates: Floats, gates_at: int, size: int) -> None:
    """Of `size` values those become 0 whose gate is not above it."""
    for i in range(0, size, N_LANES):
        store(values, at + i, gated(load(values, at + i), load(gates, gates_at + i)))


@contracted
def _add_up(rows: Floats, rows_at: int, n_rows: int, width: int, zeros: Floats, ones: Floats, out: Floats) -> None:
    """out (width,): the sum of rows (n_rows, width)."""
    for column in range(0, width, N_LANES):
        total, at = load(zeros, 0), rows_at + column
        for _ in range(n_rows):
            total = plus(total, ones, 0, load(rows, at))
            at += width
        store(out, column, total)


@contracted
def _descend(values: Floats, slope: Floats, at: int, size: int, factors: Floats, decay: int, out: Floats) -> None:
    """out = values - rate * (slope + decay * values), `size` of them from `at` on; the slope's begin at 0. Of the factors the second is the
    rate, negative, and `decay` says which is the decay."""
    for i in range(0, size, N_LANES):
        own = load(values, at + i)
        store(out, at + i, plus(own, factors, 1, plus(load(slope, i), factors, decay, own)))


@contracted
def _turn(kernel: Floats, sizes: Ints, widths: Ints, places: Ints, out: Floats) -> None:
    """The kernel of each layer behind the first turned round: a row for each of its outputs."""
    for layer in range(1, sizes.size - 1):
        for i in range(sizes[layer]):
            for j in range(sizes[layer + 1]):
                to = places[_TURNED, layer] + j * widths[layer] + i
                out[to] = kernel[places[_KERNEL, layer] + i * widths[layer + 1] + j]


@contracted
def _in_lanes(theta: Floats, sizes: Ints, widths: Ints, places: Ints, out: Floats) -> None:
    """Theta (P,) with its rows filled up to whole lanes."""
    at = 0
    for layer in range(sizes.size - 1):
        for i in range(sizes[layer] + 1):
            to = places[_KERNEL, layer] + i * widths[layer + 1]
            if i == sizes[layer]:
                to = places[_BIAS, layer]
            for j in range(sizes[layer + 1]):
                out[to + j] = theta[at]
                at += 1


@contracted
def _errors(
    logits: Floats, at: int, width: int, y: Floats, weight: Floats, first: int, n_rows: int, out: Floats
) -> None:
    """What the loss of each row rises by with its logit, in the first of its lanes."""
    for row in range(n_rows):
        logit = logits[at + row * width]
        small = np.float32(math.exp(-abs(logit)))
        p = (np.float32(1) if logit >= 0 else small) / (np.float32(1) + small)
        out[at + row * width] = (p - y[first + row]) * weight[first + row]


@as_declared
@contracted
def train(
    sizes: Ints,
    theta: Floats,
    x: Floats,
    y: Floats,
    weight: Floats,
    shape: Ints,
    learning_rate: float,
    l2: float,
    out: Floats,
) -> None:
    """What local training of each device adds to theta (P,): `out` (D * P,) and room for `MOST_LANES` more, which is written over.

    `sizes` (L + 1,): of the network's layers, its inputs and its logit among them. Devices, steps and rows: `shape` (D, S, B), of
    x (D * S * B * F,), y and weight (D * S * B,). Rows behind the last one with a weight are not looked at.
    """
    n_devices, n_steps, n_rows = shape[0], shape[1], shape[2]
    n_layers = sizes.size - 1
    widths = (sizes + N_LANES - 1) // N_LANES * N_LANES
    places = np.zeros((4, n_layers + 1), np.int64)
    n_values, n_turned, n_units, most = 0, 0, 0, 0
    for layer in range(n_layers):
        places[_KERNEL, layer], places[_BIAS, layer] = n_values, n_values + sizes[layer] * widths[layer + 1]
        n_values = places[_BIAS, layer] + widths[layer + 1]
        places[_TURNED, layer] = n_turned
        n_turned += sizes[layer + 1] * widths[layer]
        places[_UNITS, layer + 1] = n_units
        n_units += n_rows * widths[layer + 1]
        most = max(most, sizes[layer] * widths[layer + 1])
    factors = np.array([0.0, -learning_rate, 2 * l2, 1.0], np.float32)
    ones, zeros = factors[3:], np.zeros(widths.max(), np.float32)
    given, own = np.zeros(n_values, np.float32), np.zeros(n_values, np.float32)
    given_turned, own_turned = np.zeros(n_turned, np.float32), np.zeros(n_turned, np.float32)
    units, errors = np.zeros(n_units, np.float32), np.zeros(n_units, np.float32)
    slope = np.zeros(most, np.float32)
    _in_lanes(theta, sizes, widths, places, given)
    _turn(given, sizes, widths, places, given_turned)
    to = 0
    for device in range(n_devices):
        now, turned = given, given_turned
        for step in range(n_steps):
            first = (device * n_steps + step) * n_rows
            n = n_rows
            while n and weight[first + n - 1] == 0:
                n -= 1
            left, left_at, stride = x, first * sizes[0], sizes[0]
            for layer in range(n_layers):
                width, made = widths[layer + 1], places[_UNITS, layer + 1]
                kernel, bias = places[_KERNEL, layer], places[_BIAS, layer]
                _product(left, left_at, stride, 1, n, sizes[layer], now, kernel, now, bias, width, units, made)
                if layer < n_layers - 1:
                    _gate(units, made, units, made, n * width)
                left, left_at, stride = units, made, width
            _errors(units, places[_UNITS, n_layers], widths[n_layers], y, weight, first, n, errors)
            for behind in range(n_layers):
                layer = n_layers - 1 - behind
                width, made = widths[layer + 1], places[_UNITS, layer + 1]
                left, left_at, stride = units, places[_UNITS, layer], widths[layer]
                if layer:
                    round_at, wide = places[_TURNED, layer], widths[layer]
                    _product(
                        errors, made, width, 1, n, sizes[layer + 1], turned, round_at, zeros, 0, wide, errors, left_at
                    )
                    _gate(errors, left_at, units, left_at, n * wide)
                else:
                    left, left_at, stride = x, first * sizes[0], sizes[0]
                _product(left, left_at, 1, stride, sizes[layer], n, errors, made, zeros, 0, width, slope, 0)
                _descend(now, slope, places[_KERNEL, layer], sizes[layer] * width, factors, 2, own)
                _add_up(errors, made, n, width, zeros, ones, slope)
                _descend(now, slope, places[_BIAS, layer], width, factors, 0, own)
            now, turned = own, own_turned
            if step < n_steps - 1:
                _turn(own, sizes, widths, places, own_turned)
        for layer in range(n_layers):
            at = places[_KERNEL, layer]
            for _ in range(sizes[layer] + 1):  # the bias lies behind the kernel
                for column in range(0, widths[layer + 1], N_LANES):
                    store(out, to + column, minus(load(own, at + column), load(given, at + column)))
                to += sizes[layer + 1]
                at += widths[layer + 1]
