"""Lanes: 16 or 8 float32 at once, for loops that are compiled. They are vectors of LLVM, which every processor has a way of taking.

Whether a loop over single numbers becomes one over vectors is up to the compiler, which must first see that no two arrays overlap; in
these it has no choice. In Python, where nothing is compiled, lanes are cut from arrays. Loops keep a copy of what is here beside them
on the disk: who changes this file deletes `__pycache__`.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from shared.arrays import Floats

from ..life.compiled import IS_COMPILED


def _has_wide_registers() -> bool:
    """Whether the processor has AVX-512, as the compiler sees it."""
    if not IS_COMPILED:
        return False
    from llvmlite.binding import get_host_cpu_features

    return bool(get_host_cpu_features().get("avx512f", False))


#: As many as there can be, on whatever processor.
MOST_LANES = 16
#: So many that eight sums of them stay in registers: AVX-512 has twice as many of these as what came before it, each twice as wide.
N_LANES = MOST_LANES if _has_wide_registers() else 8


def _load(values: Floats, at: int) -> Any:
    """The numbers from there on."""
    return values[at : at + N_LANES].copy()


def _store(values: Floats, at: int, lanes: Any) -> None:
    """Puts them there."""
    values[at : at + N_LANES] = lanes


def _plus(total: Any, values: Floats, at: int, lanes: Any) -> Any:
    """total + values[at] * lanes; the product need not be rounded before the sum is."""
    return total + values[at] * lanes


def _minus(lanes: Any, others: Any) -> Any:
    """lanes - others."""
    return lanes - others


def _gated(lanes: Any, gate: Any) -> Any:
    """The lanes, but 0 where the gate is 0 or below: NaN opens it."""
    return np.where(gate <= 0, np.float32(0), lanes)


load: Any = _load
store: Any = _store
plus: Any = _plus
minus: Any = _minus
gated: Any = _gated

if IS_COMPILED:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic, models, register_model

    _VECTOR: Any = ir.VectorType(ir.FloatType(), N_LANES)
    _NOTHING: Any = ir.Constant(_VECTOR, ir.Undefined)
    _FIRST: Any = ir.Constant(ir.VectorType(ir.IntType(32), N_LANES), None)
    _CONTRACT: Any = ("contract",)

    def _begin(model: Any, manager: Any, kind: Any) -> None:
        cast(Any, models.PrimitiveModel).__init__(model, manager, kind, _VECTOR)

    # The type of lanes in loops, and that they are a vector there. A type checker that has no numba has no base for a class.
    _KIND: Any = type("Lanes", (types.Type,), {})
    _LANES: Any = _KIND(f"Lanes{N_LANES}")
    register_model(_KIND)(type("LanesModel", (models.PrimitiveModel,), {"__init__": _begin}))
    _ARRAY: Any = types.Array(types.float32, 1, "C")

    def _place(context: Any, builder: Any, values: Any, at: Any) -> Any:
        """Where the number `at` lies: not below 0, and not beyond the end, for nothing looks after it."""
        return builder.gep(context.make_array(_ARRAY)(context, builder, values).data, [at])

    def _place_of_lanes(context: Any, builder: Any, values: Any, at: Any) -> Any:
        return builder.bitcast(_place(context, builder, values, at), _VECTOR.as_pointer())

    def _llvm_load(typing: Any, values: Any, at: Any) -> Any:
        def made(context: Any, builder: Any, _: Any, args: Any) -> Any:
            return builder.load(_place_of_lanes(context, builder, *args), align=4)

        return _LANES(_ARRAY, types.intp), made

    def _llvm_store(typing: Any, values: Any, at: Any, lanes: Any) -> Any:
        def made(context: Any, builder: Any, _: Any, args: Any) -> Any:
            builder.store(args[2], _place_of_lanes(context, builder, *args[:2]), align=4)
            return context.get_dummy_value()

        return types.void(_ARRAY, types.intp, _LANES), made

    def _llvm_plus(typing: Any, total: Any, values: Any, at: Any, lanes: Any) -> Any:
        def made(context: Any, builder: Any, _: Any, args: Any) -> Any:
            one = builder.load(_place(context, builder, *args[1:3]), align=4)
            one = builder.insert_element(_NOTHING, one, ir.Constant(ir.IntType(32), 0))
            product = builder.fmul(builder.shuffle_vector(one, _NOTHING, _FIRST), args[3], flags=_CONTRACT)
            return builder.fadd(args[0], product, flags=_CONTRACT)

        return _LANES(_LANES, _ARRAY, types.intp, _LANES), made

    def _llvm_minus(typing: Any, lanes: Any, others: Any) -> Any:
        def made(context: Any, builder: Any, _: Any, args: Any) -> Any:
            return builder.fsub(*args)

        return _LANES(_LANES, _LANES), made

    def _llvm_gated(typing: Any, lanes: Any, gate: Any) -> Any:
        def made(context: Any, builder: Any, _: Any, args: Any) -> Any:
            zeros = ir.Constant(_VECTOR, None)
            return builder.select(builder.fcmp_ordered("<=", args[1], zeros), zeros, args[0])

        return _LANES(_LANES, _LANES), made

    load, store, plus, minus, gated = (
        intrinsic(made) for made in (_llvm_load, _llvm_store, _llvm_plus, _llvm_minus, _llvm_gated)
    )
