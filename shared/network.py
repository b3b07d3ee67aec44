"""The interest network in numpy: flat weights, forward and backward pass, with any number of leading device axes.

`theta` is one flat float32 vector (..., P): kernel then bias of each layer, kernels (inputs, outputs) in C order, as
Keras' `get_weights()` gives them. The loss of a batch is

    sum_i weight_i * bce(p_i, y_i)  +  l2 * sum of squared kernel entries

so that the *caller* decides whether a light user weighs less (a constant denominator) or not. The same network is
built in `server/export.py` as a .tflite file; tests hold the two equal to 1e-5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .arrays import Floats, Reals, as_declared
from .errors import ConfigError, InputError
from .register.bounds import MAX_PARAMETERS

MAX_LAYERS = 8


@dataclass(frozen=True)
class NetworkSpec:
    """Sizes of a dense network with ReLU hidden layers and one logit; decides where each weight is in theta."""

    n_features: int
    hidden: tuple[int, ...] = (32, 16)

    def __post_init__(self) -> None:
        if not 1 <= len(self.hidden) <= MAX_LAYERS:
            raise ConfigError(f"expected 1 to {MAX_LAYERS} hidden layers, got {len(self.hidden)}")
        if self.n_features < 1 or min(self.hidden) < 1:
            raise ConfigError(f"expected sizes >= 1, got n_features={self.n_features} hidden={self.hidden}")
        if self.n_parameters > MAX_PARAMETERS:
            raise ConfigError(f"expected at most {MAX_PARAMETERS} parameters, got {self.n_parameters}")

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shape of every kernel and bias, in theta's order."""
        sizes = (self.n_features, *self.hidden, 1)
        return tuple(s for a, b in zip(sizes[:-1], sizes[1:], strict=True) for s in ((a, b), (b,)))

    @property
    def n_parameters(self) -> int:
        """P, the length of theta."""
        return sum(math.prod(s) for s in self.shapes)

    @property
    def n_hidden(self) -> int:
        """Hidden units over all layers: the width of a dropout mask."""
        return sum(self.hidden)

    @as_declared
    def split(self, theta: Reals) -> list[Reals]:
        """Views of theta (..., P) as kernels (..., in, out) and biases (..., out)."""
        if theta.shape[-1] != self.n_parameters:
            raise InputError(f"expected theta of length {self.n_parameters}, got {theta.shape[-1]}")
        out, at = [], 0
        for shape in self.shapes:
            size = math.prod(shape)
            out.append(theta[..., at : at + size].reshape(*theta.shape[:-1], *shape))
            at += size
        return out

    def initial_theta(self, seed: int) -> Floats:
        """He-normal kernels and zero biases, float32 (P,). The seed is public: theta 0 is known to everybody."""
        random = np.random.Generator(np.random.Philox(seed))
        parts = [
            random.normal(0, np.sqrt(2 / shape[0]), shape) if len(shape) == 2 else np.zeros(shape)
            for shape in self.shapes
        ]
        return np.concatenate([p.ravel() for p in parts]).astype(np.float32)


@as_declared
def sigmoid(logit: Reals) -> Floats:
    """1 / (1 + exp(-logit)) without overflow, in the dtype of its input."""
    small = np.exp(-np.abs(logit))
    out: Floats = np.where(logit >= 0, 1 / (1 + small), small / (1 + small)).astype(logit.dtype)
    return out


@as_declared
def forward(spec: NetworkSpec, theta: Reals, x: Reals) -> Floats:
    """Interest probability p, float32 (..., n), of rows x (..., n, F) under theta (..., P)."""
    return sigmoid(_activations(spec, spec.split(theta), x, None)[-1][..., 0])


def _activations(spec: NetworkSpec, layers: list[Reals], x: Reals, mask: Reals | None) -> list[Reals]:
    """The input, each hidden layer after ReLU and dropout, and the logit (..., n, 1)."""
    out, at = [x], 0
    for kernel, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        hidden = _times(out[-1], kernel)
        hidden += bias[..., None, :]
        np.maximum(hidden, 0, out=hidden)
        if mask is not None:
            hidden = hidden * mask[..., at : at + kernel.shape[-1]]
        at += kernel.shape[-1]
        out.append(hidden)
    return [*out, _times(out[-1], layers[-2]) + layers[-1][..., None, :]]


def _times(rows: Reals, kernel: Reals) -> Reals:
    """rows (..., n, a) @ kernel (..., a, b). A kernel that all rows share is one product over all of them."""
    if kernel.ndim > 2 or rows.ndim == 2:
        return rows @ kernel
    return (rows.reshape(-1, kernel.shape[0]) @ kernel).reshape(*rows.shape[:-1], kernel.shape[1])


@as_declared
def gradient(
    spec: NetworkSpec,
    theta: Reals,
    x: Reals,
    y: Reals,
    weight: Reals,
    *,
    l2: float = 0.0,
    mask: Reals | None = None,
) -> Floats:
    """Gradient of the loss in the module's docstring with respect to theta: float32 (..., P).

    x (..., n, F), y and weight (..., n); `mask` (..., n, n_hidden) multiplies the hidden units (inverted dropout:
    0 or 1 / keep), None for no dropout. Rows with weight 0 count for nothing.
    """
    layers = spec.split(theta)
    *hidden, logit = _activations(spec, layers, x, mask)
    delta: Reals = ((sigmoid(logit[..., 0]) - y) * weight)[..., None]
    ones = np.ones(delta.shape[-2], delta.dtype)
    parts: list[Reals] = []
    at = spec.n_hidden
    for i in range(len(hidden) - 1, -1, -1):
        kernel = layers[2 * i]
        from_kernel = np.swapaxes(hidden[i], -1, -2) @ delta
        if l2:
            from_kernel += np.float32(2 * l2) * kernel
        parts = [from_kernel.reshape(*from_kernel.shape[:-2], -1), ones @ delta, *parts]
        if i:
            back = np.swapaxes(kernel, -1, -2)
            delta = delta * back if back.shape[-2] == 1 else _times(delta, back)
            delta *= hidden[i] > 0
            if mask is not None:
                at -= hidden[i].shape[-1]
                delta = delta * mask[..., at : at + hidden[i].shape[-1]]
    return np.concatenate(parts, axis=-1)


@as_declared
def loss(spec: NetworkSpec, theta: Reals, x: Reals, y: Reals, weight: Reals, *, l2: float = 0.0) -> Floats:
    """The loss of the module's docstring, without dropout: float32 (...,)."""
    layers = spec.split(theta)
    logit = _activations(spec, layers, x, None)[-1][..., 0]
    bce = np.maximum(logit, 0) - logit * y + np.log1p(np.exp(-np.abs(logit)))
    penalty = sum((kernel**2).sum(axis=(-2, -1)) for kernel in layers[::2])
    return np.asarray((bce * weight).sum(axis=-1) + np.float32(l2) * penalty, dtype=np.float32)


@as_declared
def fit(
    spec: NetworkSpec,
    theta: Reals,
    x: Reals,
    y: Reals,
    weight: Reals,
    *,
    learning_rate: float,
    l2: float = 0.0,
    masks: Reals | None = None,
) -> Floats:
    """Theta after S steps of SGD: float32 (..., P).

    x (..., S, B, F), y and weight (..., S, B), masks (..., S, B, n_hidden): step s uses slice s.
    """
    for s in range(x.shape[-3]):
        mask = None if masks is None else masks[..., s, :, :]
        step = gradient(spec, theta, x[..., s, :, :], y[..., s, :], weight[..., s, :], l2=l2, mask=mask)
        step *= np.float32(learning_rate)
        theta = np.subtract(theta, step, out=step)
    return theta
