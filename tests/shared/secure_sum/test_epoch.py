"""An epoch: closed, then seeded, then signed; believed under one key, for one audience, in its window, and else refused by name."""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import cbor
from shared.errors import (
    ConfigError,
    DataError,
    EpochElsewhere,
    EpochEnded,
    EpochError,
    EpochForged,
    EpochNotBegun,
    WireError,
)
from shared.secure_sum import epoch as module
from shared.secure_sum.epoch import (
    TAG,
    EnrolmentList,
    Epoch,
    read_epoch,
    read_list,
    sign,
    signed_by,
    unverified,
    verified,
    write_list,
)
from shared.secure_sum.merkle import expect_members, prove
from tests.world.basics import examples
from tests.world.listed import (
    AUDIENCE,
    BEGINS_S,
    DAY_S,
    ENROLMENT_KEY,
    OFFLINE_KEY,
    OTHER_OFFLINE_KEY,
    helpers,
    leaf,
    leaves,
    make_epoch,
)
from tests.world.spellings import EVERYTHING

ENDS_S = BEGINS_S + 7 * DAY_S
EPOCH = make_epoch()
SIGNED = sign(EPOCH, OFFLINE_KEY)


def close(devices=None, helping=(), **changes):
    given = {"audience": AUDIENCE, "number": 1, "begins_s": BEGINS_S, "ends_s": ENDS_S, "draws": 64} | changes
    return Epoch.close(leaves=leaves(5) if devices is None else devices, helpers=helping, **given)


@pytest.mark.parametrize("n_helpers", [0, 2, 3, 5])
@pytest.mark.parametrize("n", [1, 2, 5, 33])
def test_what_was_closed_and_signed_is_what_a_device_reads(n, n_helpers):
    epoch = close(leaves(n), helpers(n_helpers))
    found = verified(sign(epoch, OFFLINE_KEY), ENROLMENT_KEY, BEGINS_S, AUDIENCE)
    assert found == epoch and found.sha256 == epoch.sha256 and len(found.helpers) == n_helpers
    listed = sorted(leaves(n))
    expect_members(found.root, found.n_devices, {n - 1: listed[-1]}, prove(listed, [n - 1]))


def test_the_seed_is_drawn_after_everything_else_is_right(monkeypatch):
    """The one draw of OS entropy comes last: whatever is wrong is refused before."""
    asked = []
    monkeypatch.setattr(module.os, "urandom", lambda n: asked.append(n) or bytes([len(asked)]) * n)
    for wrong in (
        {"devices": []},
        {"devices": [leaf("one"), leaf("one")]},
        {"helping": helpers(6)},
        {"helping": [*helpers(1), leaf("device 0")]},
        {"ends_s": BEGINS_S},
        {"draws": 0},
        {"number": 0},
        {"audience": "x" * 65},
    ):
        with pytest.raises(ConfigError):
            close(**wrong)
    assert asked == []
    first, second = close(), close()
    assert asked == [32, 32] and first.seed != second.seed and first.root == second.root
    assert first.sha256 != second.sha256


def test_seeds_are_of_the_system_s_entropy():
    assert len({close().seed for _ in range(50)}) == 50 and module.os.urandom is os.urandom


def test_the_order_in_which_devices_came_changes_nothing_but_the_seed():
    one, other = close(leaves(9), helpers(3)), close(leaves(9)[::-1], helpers(3)[::-1])
    assert replace(one, seed=bytes(32)) == replace(other, seed=bytes(32))


WRONG = {
    "audience": ["x" * 65, "\ud800", b"north", None],
    "number": [0, -1, 1 << 32, True, "1", 1.0],
    "begins_s": [-1, ENDS_S, ENDS_S + 1, 1 << 53, None, ENDS_S - 31 * DAY_S - 1],
    "ends_s": [BEGINS_S, BEGINS_S - 1, BEGINS_S + 31 * DAY_S + 1, 1 << 53],
    "seed": [bytes(31), bytes(33), b"", "x" * 32],
    "root": [bytes(31), bytes(33), None],
    "n_devices": [0, (1 << 24) + 1, True],
    "draws": [0, (1 << 16) + 1, None],
    "helpers": [tuple(helpers(6)), tuple(helpers(3)[::-1]), list(helpers(3)), (bytes(64),) * 2],
}


@pytest.mark.parametrize(("name", "wrong"), [(name, wrong) for name, each in WRONG.items() for wrong in each])
def test_what_is_only_nearly_an_epoch_is_none(name, wrong):
    with pytest.raises(ConfigError, match="expected"):
        replace(EPOCH, **{name: wrong})


def test_the_longest_epoch_is_of_31_days():
    assert replace(EPOCH, ends_s=BEGINS_S + 31 * DAY_S).ends_s == BEGINS_S + 31 * DAY_S


@pytest.mark.parametrize("number", [np.int64(1), np.uint32(7)])
def test_numbers_of_numpy_are_numbers(number):
    assert unverified(sign(replace(EPOCH, number=number), OFFLINE_KEY)).number == int(number)


# ---- believed, or refused by name


@pytest.mark.parametrize("now_s", [BEGINS_S, BEGINS_S + 0.5, ENDS_S - 1])
def test_it_holds_in_its_window(now_s):
    assert verified(SIGNED, ENROLMENT_KEY, now_s, AUDIENCE) == EPOCH


@pytest.mark.parametrize(
    ("now_s", "refusal"),
    [
        (0, EpochNotBegun),
        (BEGINS_S - 0.001, EpochNotBegun),
        (float("nan"), EpochNotBegun),
        (ENDS_S, EpochEnded),
        (1e12, EpochEnded),
    ],
)
def test_an_old_epoch_and_one_that_has_not_begun_are_refused_by_name(now_s, refusal):
    with pytest.raises(refusal, match="expected an epoch that"):
        verified(SIGNED, ENROLMENT_KEY, now_s, AUDIENCE)
    assert signed_by(SIGNED, ENROLMENT_KEY) == EPOCH, "whose it is does not change"


@pytest.mark.parametrize("audience", ["", "south", "North"])
def test_an_epoch_for_others_is_refused_by_name(audience):
    with pytest.raises(EpochElsewhere):
        verified(SIGNED, ENROLMENT_KEY, BEGINS_S, audience)


def forged(epoch=EPOCH, signature=None):
    return module.encode(
        module._SIGNED, "signed_epoch", {"epoch": epoch.canonical, "signature": signature or OFFLINE_KEY.sign(TAG)}
    )


FORGED = {
    "another key": sign(EPOCH, OTHER_OFFLINE_KEY),
    "no tag": forged(signature=OFFLINE_KEY.sign(EPOCH.canonical)),
    "another tag": forged(signature=OFFLINE_KEY.sign(b"ebbtide request v1\n" + EPOCH.canonical)),
    "another seed": forged(replace(EPOCH, seed=bytes(32)), OFFLINE_KEY.sign(TAG + EPOCH.canonical)),
    "another end": forged(replace(EPOCH, ends_s=ENDS_S + 1), OFFLINE_KEY.sign(TAG + EPOCH.canonical)),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_the_offline_key_did_not_sign_is_refused_by_name(case):
    with pytest.raises(EpochForged):
        verified(FORGED[case], ENROLMENT_KEY, BEGINS_S, AUDIENCE)


@pytest.mark.parametrize("key", [b"", bytes(31), OTHER_OFFLINE_KEY.public_key().public_bytes_raw()])
def test_who_pinned_no_key_or_another_believes_nothing(key):
    with pytest.raises(EpochForged):
        verified(SIGNED, key, BEGINS_S, AUDIENCE)


def test_who_it_is_signed_by_is_asked_first():
    """Even what is no epoch at all, or is over and for others, is refused for its signature."""
    for epoch in (replace(EPOCH, audience="south", ends_s=BEGINS_S + 1), None):
        body = epoch.canonical if epoch else b"no epoch"
        data = module.encode(module._SIGNED, "signed_epoch", {"epoch": body, "signature": bytes(64)})
        with pytest.raises(EpochForged):
            verified(data, ENROLMENT_KEY, ENDS_S, AUDIENCE)


@examples(300)
@given(st.integers(0, 8 * len(SIGNED) - 1))
def test_no_bit_can_be_changed(bit):
    data = bytearray(SIGNED)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(WireError):
        verified(bytes(data), ENROLMENT_KEY, BEGINS_S, AUDIENCE)


@examples(200)
@given(st.binary(max_size=400) | st.integers(0, len(SIGNED)).map(lambda n: SIGNED[:n]) | st.just(SIGNED + b"\0"))
def test_other_bytes_are_refused(data):
    if data != SIGNED:
        with pytest.raises(WireError):
            verified(data, ENROLMENT_KEY, BEGINS_S, AUDIENCE)


def test_an_epoch_has_one_spelling():
    """A map in another order, signed by the right key, is none."""
    name, version, fields = cbor.decode(EPOCH.canonical, EVERYTHING)
    assert list(fields) == sorted(fields, key=lambda key: (len(key), key)) and fields["number"] == 1
    parts = [cbor.encode(key, EVERYTHING) + cbor.encode(value, EVERYTHING) for key, value in fields.items()]
    head = b"\x83" + cbor.encode(name, EVERYTHING) + cbor.encode(version, EVERYTHING) + bytes([0xA0 + len(fields)])
    assert head + b"".join(parts) == EPOCH.canonical
    other = head + b"".join(parts[::-1])
    data = module.encode(module._SIGNED, "signed_epoch", {"epoch": other, "signature": OFFLINE_KEY.sign(TAG + other)})
    with pytest.raises(WireError, match="order of their bytes"):
        verified(data, ENROLMENT_KEY, BEGINS_S, AUDIENCE)


@pytest.mark.parametrize("wrong", [b"".join(helpers(6)), b"".join(helpers(2)[::-1]), bytes(64)])
def test_a_signed_epoch_that_breaks_its_own_rules_is_refused(wrong):
    """The key signed it, and still: six helpers are out of bounds, and others not in order, or of no key."""
    fields = cbor.decode(EPOCH.canonical, EVERYTHING)[2] | {"helpers": wrong}
    body = cbor.encode(["epoch", 1, fields], EVERYTHING)
    data = module.encode(module._SIGNED, "signed_epoch", {"epoch": body, "signature": OFFLINE_KEY.sign(TAG + body)})
    with pytest.raises(WireError, match="helpers|identity"):
        verified(data, ENROLMENT_KEY, BEGINS_S, AUDIENCE)


def test_the_largest_epoch_fits():
    largest = make_epoch(
        n_devices=1 << 24,
        audience="x" * 64,
        number=(1 << 32) - 1,
        begins_s=(1 << 53) - 2,
        ends_s=(1 << 53) - 1,
        helpers=tuple(helpers(5)),
        draws=1 << 16,
    )
    assert unverified(sign(largest, OFFLINE_KEY)) == largest
    assert issubclass(EpochForged, EpochError) and issubclass(EpochError, WireError)


# ---- the list before it is closed


def test_a_list_goes_through_a_file(tmp_path):
    file = tmp_path / "keys.list"
    write_list(file, EnrolmentList(AUDIENCE, 3, tuple(leaves(7))))
    assert read_list(file) == EnrolmentList(AUDIENCE, 3, tuple(sorted(leaves(7))))
    assert [each.name for each in tmp_path.iterdir()] == ["keys.list"]


def test_a_list_with_wrong_keys_is_not_written_nor_closed(tmp_path):
    for wrong in ((bytes(64),), (leaf("one"), leaf("one")), (b"short",)):
        with pytest.raises(ConfigError):
            write_list(tmp_path / "keys.list", EnrolmentList(AUDIENCE, 1, wrong))
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="identity of full order"):
        close([leaf("one"), bytes(64)])


@pytest.mark.parametrize("damage", ["cut", "more", "empty", "an epoch", "half a leaf"])
def test_a_file_that_is_no_list_is_refused_by_name(tmp_path, damage):
    file = tmp_path / "keys.list"
    write_list(file, EnrolmentList(AUDIENCE, 1, tuple(leaves(2))))
    data = file.read_bytes()
    half = cbor.encode(["enrolment_list", 1, {"audience": "", "number": 1, "leaves": bytes(96)}], EVERYTHING)
    file.write_bytes(
        {"cut": data[:-1], "more": data + b"\0", "empty": b"", "an epoch": SIGNED, "half a leaf": half}[damage]
    )
    with pytest.raises(DataError, match=r"expected a list of keys in .*keys\.list"):
        read_list(file)


def test_a_file_that_is_too_long_is_not_read_whole(tmp_path):
    (tmp_path / "epoch").write_bytes(bytes(1 << 16))
    with pytest.raises(DataError, match="expected at most"):
        read_epoch(tmp_path / "epoch")
