"""What arrives at every public entry that takes arrays is the same for every integer and float type and every layout, or the entry
refuses it by name. A new entry that neither holds its arrays nor has a reason here why it need not, fails."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.arrays import as_declared, kind_of
from shared.errors import InputError
from tests.world.array_entries import (
    FLOATING,
    INTEGERS,
    LAYOUTS,
    array_entries,
    arrays_of,
    class_of,
    made_by_dataclass,
)
from tests.world.basics import examples

INSIDE = "inside a device, whose own public methods hold what they are given"
#: Why entries hold no arrays, by what their names begin with.
REASONS = {
    r"simulations\.report\.svg\.(label_curves|legend)": "a curve there is one to be drawn, with its name",
    r"client\.sums\.sent_into|simulations\.federation\.host_training\.protected_sum": "take work that makes arrays, and none themselves",
    r"simulations\.(federation\.hosted\.training_rows\.write_rows|people\.teaching\.descend)": "take a function that makes arrays",
    r"simulations\.federation\.hosted\.training_rows\.Rows\.drawn": "what others declare, who hold it",
    r"simulations\.life\.rows\.(features_of|by_loops)": "take several lists of steps, which whoever makes rows made",
    r"simulations\.federation\.observations\.HostNotes\.add": "takes what a host's own watch made, step by step",
    r"simulations\.attacks\.hostile_server\.(Round|Sums)\.(read|sent)": "an attack's own steps, with what it made",
    r"simulations\.attacks\.added_views\.with_interval": "numbers of users, which the caller counted",
    r"simulations\.attacks\.distinguishing\.Watched\.__init__": "takes a function of arrays, and no array",
    r"simulations\.streams\.baseline_rules\.Rule\.__init__": "takes a function of arrays, and no array",
    r"simulations\.federation\.host_answers\.HostAnswers\.from_arrays": "packed bytes as a host sent them, each with its own reading",
    r"simulations\.people\.population_files\.(ColumnFile\.add|write_column|let_go)": "refuses any other type than the column's",
    r"simulations\.people\.(population\.Population\.__init__|truth\.(Truth\.__init__|expect_array))": "refuse any other type, by name",
    r"client\.(gaps|gate|state|privacy\.ledger|vault\.vault)\..+": INSIDE,
    r"client\.(detection\.\w+|model\.(?!runtime)\w+)\..+": INSIDE,
    r"client\.model\.runtime\.Model\.run": "takes what the pinned network declares, and TFLite refuses all else",
}
ENTRIES = array_entries()
HELD = {name: f for name, f in ENTRIES.items() if not any(re.fullmatch(reason, name) for reason in REASONS)}
CHECKED = {name: f for name, f in HELD.items() if hasattr(f, "__wrapped__")}


def test_every_public_entry_holds_its_arrays_or_has_a_reason():
    assert len(HELD) > 130
    loose = {name for name, f in HELD.items() if name not in CHECKED and not made_by_dataclass(name, f)}
    assert loose == set(), "decorate it with as_declared, or give a reason"
    for name, f in HELD.items():
        if made_by_dataclass(name, f):
            post = getattr(class_of(name), "__post_init__", None)
            assert post is not None and "hold_declared" in post.__code__.co_names, f"{name}: call hold_declared"
        assert [v for v in arrays_of(f).values() if kind_of(v) is None] == [], f"{name}: a kind that nothing holds"


def test_no_reason_is_left_over():
    for reason in REASONS:
        assert any(re.fullmatch(reason, name) for name in ENTRIES), f"{reason}: no such entry any more"


def one_kind(declared: str) -> tuple[str, Any]:
    """The kind of the arrays in a declaration, and how they are wrapped in it."""
    text = declared.replace("npt.", "").removesuffix(" | None")
    if many := re.fullmatch(r"(?:Mapping|dict)\[str, (.+)\]", text):
        return many[1], lambda a: {"a": a}
    if many := re.fullmatch(r"list\[(.+)\]", text):
        return many[1], lambda a: [a, a]
    if many := re.fullmatch(r"tuple\[(.+)\]", text):
        return many[1].partition(", ")[
            0
        ], lambda a: (a,) * many[1].count(",") if "..." in many[1] else (a,) * (many[1].count(",") + 1)
    return text, lambda a: a


def arrays_in(value: Any) -> list[np.ndarray]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
    return list(parts)


def arriving(function: Any, argument: str, value: Any) -> list[np.ndarray]:
    """What the body of a decorated function gets for one argument."""
    seen: dict[str, Any] = {}

    @as_declared
    @functools.wraps(function.__wrapped__)
    def probe(*_: Any, **named: Any) -> None:
        seen.update(named)

    probe(**{argument: value})
    return arrays_in(seen[argument])


@pytest.mark.parametrize("name", CHECKED)
@examples(6)
@given(data=st.data())
def test_what_arrives_is_the_same_for_every_type_and_layout(name: str, data: st.DataObject) -> None:
    for argument, declared in arrays_of(CHECKED[name]).items():
        kind, wrap = one_kind(declared)
        if kind == "Bools":  # whose only type is their own
            mask = np.array([[True, False, True], [False, False, True]])
            for a in arriving(CHECKED[name], argument, wrap(data.draw(st.sampled_from(LAYOUTS))(mask))):
                np.testing.assert_array_equal(a, mask)
            with pytest.raises(InputError, match=f"expected {re.escape(argument)}.* as booleans"):
                arriving(CHECKED[name], argument, wrap(mask.astype(data.draw(st.sampled_from(INTEGERS + FLOATING)))))
            continue
        base = np.array([[0, 1, 2], [5, 3, 1]])
        expected = arriving(CHECKED[name], argument, wrap(base.astype(np.float64)))
        given_ = data.draw(st.sampled_from(LAYOUTS))(base.astype(data.draw(st.sampled_from(INTEGERS + FLOATING))))
        got = arriving(CHECKED[name], argument, wrap(given_))
        assert len(got) == len(expected)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
            if not kind.startswith(("Reals", "NDArray[Any]", "NDArray[np.floating")):  # they say: of either precision
                assert a.dtype == b.dtype


@pytest.mark.parametrize("wrong", ["text", "complex", "object", "masked", "dates"])
def test_what_is_no_number_arrives_nowhere(wrong: str) -> None:
    bad = {
        "text": np.full(2, "x"),
        "complex": np.ones(2, complex),
        "object": np.ones(2, object),
        "masked": np.ma.masked_array(np.ones(2), np.ones(2, bool)),
        "dates": np.zeros(2, "M8[s]"),
    }[wrong]
    for name, function in CHECKED.items():
        for argument, declared in arrays_of(function).items():
            with pytest.raises(InputError, match=f"expected {re.escape(argument)}"):
                arriving(function, argument, one_kind(declared)[1](bad))
                pytest.fail(f"{name} takes {wrong} as {argument}")
