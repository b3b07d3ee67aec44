"""Keys that would let anybody sign, or everybody know what was agreed on, are refused: asked of OpenSSL, too."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.secure_sum import leaves as module
from shared.secure_sum.leaves import LEAF_BYTES, expect_leaf, identity_of, leaf_of, members, seat_key_of
from tests.world.basics import examples
from tests.world.listed import keys_of, leaf, leaves

P = (1 << 255) - 19
IDENTITY, SEAT_KEY = identity_of(leaf("one")), seat_key_of(leaf("one"))
D = -121665 * pow(121666, -1, P) % P


def spelled(number: int) -> bytes:
    return number.to_bytes(32, "little")


def test_a_leaf_is_its_two_keys():
    both = leaf_of(IDENTITY, SEAT_KEY)
    assert len(both) == LEAF_BYTES and (identity_of(both), seat_key_of(both)) == (IDENTITY, SEAT_KEY)


@pytest.mark.parametrize("u", sorted(module._LOW_ORDER_U))
def test_low_order_seat_keys_are_refused_as_openssl_refuses_them(u):
    """In every spelling: modulo p, and with the highest bit."""
    for spelling in {u, u + P, u | 1 << 255, u + P | 1 << 255}:
        if spelling < 1 << 256 and (spelling & (1 << 255) - 1) % P == u:
            with pytest.raises(ValueError):
                X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(spelled(spelling)))
            with pytest.raises(ConfigError, match="seat key of full order"):
                expect_leaf(IDENTITY + spelled(spelling))


def add(one, other):
    """The sum of two points of edwards25519 (RFC 8032, section 5.1.4), in plain coordinates."""
    (a, b), (c, d) = one, other
    product = D * a * b * c * d
    return (
        (a * d + b * c) * pow(1 + product, -1, P) % P,
        (b * d + a * c) * pow(1 - product, -1, P) % P,
    )


@pytest.mark.parametrize("y", sorted(module._LOW_ORDER_Y))
def test_identities_of_low_order_are_refused_and_are_of_low_order(y):
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square, "a point"
    point = (x, y)
    for _ in range(3):
        point = add(point, point)
    assert point == (0, 1), "eight times it is nothing"
    for spelling in (y, y | 1 << 255):
        with pytest.raises(ConfigError, match="identity of full order"):
            expect_leaf(spelled(spelling) + SEAT_KEY)


def test_all_points_of_low_order_are_known():
    """Eight points of Ed25519 have five y; the seat keys' five u are those of the curve and of its twist."""
    assert len(module._LOW_ORDER_Y) == len(module._LOW_ORDER_U) == 5
    for y in module._LOW_ORDER_Y - {1}:
        assert (1 + y) * pow(1 - y, -1, P) % P in module._LOW_ORDER_U, "the map of RFC 7748, section 4.1"


@pytest.mark.parametrize("name", ["seat key", "identity"])
def test_another_spelling_of_a_key_is_none(name):
    right = int.from_bytes(SEAT_KEY, "little")
    for other in (right | 1 << 255, P + 2, (1 << 255) - 1):
        wrong = IDENTITY + spelled(other) if name == "seat key" else spelled(max(other, P) & (1 << 255) - 1) + SEAT_KEY
        if name == "seat key" or other < 1 << 255:
            with pytest.raises(ConfigError, match=f"{name} of full order, in its one spelling"):
                expect_leaf(wrong)


@pytest.mark.parametrize("wrong", [b"", bytes(63), bytes(65), None, "x" * 64, bytearray(leaf("one"))])
def test_what_is_no_leaf_is_refused(wrong):
    with pytest.raises(ConfigError, match="expected 64 bytes"):
        expect_leaf(wrong)
    with pytest.raises(ConfigError, match="expected 64 bytes"):
        members([leaf("one"), wrong])


def test_keys_of_another_length_are_refused():
    with pytest.raises(ConfigError, match="32 bytes each"):
        leaf_of(IDENTITY[:-1], SEAT_KEY + b"\0")


@examples(30)
@given(st.permutations(leaves(6)))
def test_the_order_says_nothing_of_who_came_when(arrived):
    assert members(arrived) == sorted(leaves(6))


@pytest.mark.parametrize("key", ["an identity", "a seat key"])
@pytest.mark.parametrize("place", ["devices", "helpers", "both"])
def test_a_key_is_there_once_among_devices_and_helpers(key, place):
    other = keys_of("other")[key == "an identity"].public_key().public_bytes_raw()
    twin = IDENTITY + other if key == "an identity" else other + SEAT_KEY
    one = leaf("one")
    devices, helpers = {"devices": ([one, twin], []), "helpers": ([], [one, twin]), "both": ([one], [twin])}[place]
    with pytest.raises(ConfigError, match=f"{key} of its own for everybody, got one twice"):
        members(devices, helpers)
