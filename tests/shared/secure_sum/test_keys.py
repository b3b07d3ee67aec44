"""What a key is tied to: nothing that is sent to one seat, by one device, in one sum, opens or streams as anything else."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from shared.secure_sum.field import Field
from shared.secure_sum.header import Header
from shared.secure_sum.keys import PAD, SEAL, STREAM, TAG_BYTES, Tie, agreed, uniform
from shared.secure_sum.share import contribute
from tests.world.basics import examples

from .algebra import FIELDS, LAST, NEAR_31, THREE_BYTES
from .parts import Person, World, refusal_of

WORLD = World(12, 2, (10, 5, 7))
OTHER_EPOCH = World(12, 2, (10, 5, 7), seed="another")
EPHEMERAL = Person("ephemeral")
SECRET = bytes(range(32))


def tie(
    header: Header = WORLD.header, position: int = 6, sender: int = 0, ephemeral: bytes = EPHEMERAL.leaf[32:]
) -> Tie:
    return Tie(header, position, WORLD.leaves[sender], ephemeral)


FLIPPED = EPHEMERAL.leaf[32:63] + bytes([EPHEMERAL.leaf[63] ^ 0x80])
#: Whatever differs in the sum, the seat, the sender or the key that it sends.
OTHERS = {
    "as it is": tie(),
    "another seat": tie(position=7),
    "a pad": tie(position=10),
    "another sender": tie(sender=1),
    "another ephemeral key": tie(ephemeral=bytes(32)),
    "the same in its other spelling": tie(ephemeral=FLIPPED),
    "another epoch": tie(replace(WORLD.header, epoch_sha256=OTHER_EPOCH.epoch.sha256)),
    "another plan": tie(replace(WORLD.header, plan_sha256=bytes(32))),
    "another round": tie(replace(WORLD.header, round=4)),
    "another kind": tie(replace(WORLD.header, kind="risk_update")),
    "other weights": tie(replace(WORLD.header, body_sha256=bytes(32))),
    "others absent": tie(replace(WORLD.header, absent=(1,))),
    "other survivors": tie(replace(WORLD.header, min_survivors=3)),
    "other pads": tie(replace(WORLD.header, pads=WORLD.header.pads[::-1])),
    "seats in another order": tie(replace(WORLD.header, seats=(*WORLD.header.seats[1::-1], *WORLD.header.seats[2:]))),
    "other thresholds": tie(replace(WORLD.header, t_priv=6)),
    "another prime": tie(replace(WORLD.header, prime=NEAR_31.prime)),
    "another length": tie(replace(WORLD.header, n_values=8)),
}


@pytest.mark.parametrize("pair", list(combinations(OTHERS, 2)), ids=" / ".join)
def test_no_key_is_that_of_anything_else(pair):
    one, other = (OTHERS[name] for name in pair)
    for label in (STREAM, SEAL, PAD):
        assert one.key(label, SECRET) != other.key(label, SECRET)
        assert one.info(label) != other.info(label)


@pytest.mark.parametrize("other", [name for name in OTHERS if name != "as it is"])
def test_no_box_opens_as_anything_else(other):
    box = tie().seal(SECRET, b"share")
    assert tie().unseal(SECRET, box) == b"share" and len(box) == 5 + TAG_BYTES
    assert refusal_of(lambda: OTHERS[other].unseal(SECRET, box)) == "box"


@pytest.mark.parametrize("said", [None, tie(sender=1).info(SEAL), tie().info(STREAM)])
def test_the_associated_data_is_the_context_whatever_the_key(said):
    """Were the sender not in the key, it would still be here: a box under the right key and no, or another, context does not open."""
    box = ChaCha20Poly1305(tie().key(SEAL, SECRET)).encrypt(bytes(12), b"share", said)
    assert refusal_of(lambda: tie().unseal(SECRET, box)) == "box"


def test_a_seat_that_sits_twice_has_two_keys():
    """Only a hostile server's header has one key in two places; even so no stream is there twice."""
    twice = replace(WORLD.header, seats=(WORLD.header.seats[0], *WORLD.header.seats[:-1]))
    assert twice.seats[0] == twice.seats[1]
    assert tie(twice, 0).key(STREAM, SECRET) != tie(twice, 1).key(STREAM, SECRET)


def test_the_other_spelling_of_a_key_agrees_on_the_same_secret_which_is_why_its_bytes_are_tied_in():
    seat = WORLD.seats[0].seat
    assert agreed(seat, EPHEMERAL.leaf[32:]) == agreed(seat, FLIPPED)
    assert tie().key(SEAL, SECRET) != tie(ephemeral=FLIPPED).key(SEAL, SECRET)


def test_labels_have_one_length_so_that_none_begins_another():
    assert len({len(label) for label in (STREAM, SEAL, PAD)}) == 1 and len({STREAM, SEAL, PAD}) == 3


ROUNDS = st.tuples(st.sampled_from(["update", "risk_update"]), st.integers(1, 64), st.sampled_from([WORLD, OTHER_EPOCH]),
                   st.integers(0, 11), st.integers(0, 1))  # fmt: skip


@given(asked=st.lists(ROUNDS, min_size=2, max_size=3, unique=True))
@examples(25)
def test_no_stream_repeats_across_rounds_kinds_seats_devices_and_epochs(asked):
    """Every stream of every holder, of real contributions, even were the ephemeral key of all of them the same."""
    seen: set[bytes] = set()
    n_streams = 0
    for kind, number, world, at, other_theta in asked:
        header = replace(world.header, kind=kind, round=number, body_sha256=bytes([other_theta]) * 32)
        for place in range(len(world.holders)):
            secret = agreed(EPHEMERAL.seat, world.holders[place].leaf[32:])
            one = Tie(header, place, world.leaves[at], EPHEMERAL.leaf[32:])
            for label in (STREAM, PAD):
                stream = one.stream(label, secret, header.code.field, 8).tobytes()
                seen |= {stream[:16], stream[16:]}
                n_streams += 2
    assert len(seen) == n_streams


def test_a_device_draws_a_fresh_key_for_every_contribution():
    one = WORLD.devices[0]
    said = [contribute(WORLD.header, one.leaf, one.identity, WORLD.values()[0]) for _ in range(3)]
    assert len({part.ephemeral for part in said}) == len({part.sealed for part in said}) == 3


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: str(field.prime))
def test_a_stream_is_uniform_and_a_longer_one_begins_with_a_shorter_one(field):
    words = uniform(SECRET, field, 60_000)
    assert (words < field.prime).all()
    for n in (1, 7, 1000):
        assert np.array_equal(uniform(SECRET, field, n), words[:n])
    counts = np.bincount(words.astype(np.int64) * 64 // field.prime, minlength=64)
    assert ((counts - 60_000 / 64) ** 2 / (60_000 / 64)).sum() < 130  # chi-square of 63 degrees: beyond with 1e-6


@pytest.mark.parametrize("field", [THREE_BYTES, NEAR_31, LAST], ids=lambda field: str(field.prime))
def test_words_that_do_not_fit_are_left_out_never_folded(field):
    """At 2^31 - 1 a stream that took remainders of all 32 bits would have 0 and 1 three times for two: at 2^23 nobody would see."""
    limit = 2**32 // field.prime * field.prime
    raw = np.array([5, limit - 1, limit % 2**32, 2**32 - 1, 6], np.uint32)
    kept = [word for word in raw.tolist() if word < limit]
    assert field.accepted(raw).tolist() == [word % field.prime for word in kept]


@pytest.mark.parametrize("field", [THREE_BYTES, NEAR_31], ids=lambda field: str(field.prime))
def test_signed_numbers_keep_their_sign(field):
    most = field.prime // 2
    values = np.array([-most, -4096, -1, 0, 1, 4096, most], np.int64)
    assert np.array_equal(field.to_signed(field.from_signed(values)), values)
    assert field.from_signed(np.array([-1], np.int64)).tolist() == [field.prime - 1]


def test_every_field_of_a_header_is_in_its_hash_and_comes_back():
    header = WORLD.header
    assert Header.from_bytes(header.canonical) == header
    assert len({one.header.sha256 for one in OTHERS.values()}) == len(OTHERS) - 5  # five differ in what is no header's
    assert isinstance(header.code.field, Field)
