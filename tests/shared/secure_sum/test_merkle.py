"""The tree of RFC 6962 against one built as the RFC says it; one proof for many leaves; every wrong proof is refused."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError, ProofError
from shared.secure_sum.merkle import HASH_BYTES, expect_members, proof_bytes, prove, root
from tests.world.basics import examples


def hashed(data: bytes) -> bytes:
    return sha256(data).digest()


def as_the_rfc_says(leaves: list[bytes]) -> bytes:
    """Section 2.1, word by word."""
    n = len(leaves)
    if n == 1:
        return hashed(b"\x00" + leaves[0])
    k = 1
    while 2 * k < n:
        k *= 2
    return hashed(b"\x01" + as_the_rfc_says(leaves[:k]) + as_the_rfc_says(leaves[k:]))


def path_of(leaves: list[bytes], at: int) -> list[bytes]:
    """Section 2.1.1: the audit path of one leaf, from below."""
    n = len(leaves)
    if n == 1:
        return []
    k = 1
    while 2 * k < n:
        k *= 2
    if at < k:
        return [*path_of(leaves[:k], at), as_the_rfc_says(leaves[k:])]
    return [*path_of(leaves[k:], at - k), as_the_rfc_says(leaves[:k])]


def listed(n: int) -> list[bytes]:
    return [hashed(b"%d" % at) * 2 for at in range(n)]


@pytest.mark.parametrize("n", [*range(1, 34), 63, 64, 65, 127, 128, 129, 1000])
def test_the_root_is_that_of_the_rfc(n):
    assert root(listed(n)) == as_the_rfc_says(listed(n))


def test_the_root_of_a_known_tree_is_the_one_that_is_published():
    """The test data of certificate transparency's own code: eight leaves."""
    leaves = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                         "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
    assert root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert root(leaves[:1]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@pytest.mark.parametrize("n", [*range(1, 20), 64, 100])
def test_the_proof_of_one_leaf_is_the_audit_path_of_the_rfc(n):
    leaves = listed(n)
    for at in range(n):
        assert prove(leaves, [at]) == b"".join(path_of(leaves, at))


@st.composite
def trees(draw):
    """Leaves, and positions of some of them."""
    n = draw(st.integers(1, 70) | st.sampled_from([64, 65, 128, 200]))
    return listed(n), sorted(draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n)))


@examples(200)
@given(trees())
def test_one_proof_shows_any_leaves_at_once_and_is_never_longer_than_theirs_alone(tree):
    leaves, at = tree
    proof = prove(leaves, at)
    assert len(proof) == proof_bytes(len(leaves), at) <= sum(len(prove(leaves, [each])) for each in at)
    expect_members(root(leaves), len(leaves), {each: leaves[each] for each in reversed(at)}, proof)


@examples(200)
@given(trees(), st.data())
def test_what_is_not_the_proof_is_refused(tree, data):
    leaves, at = tree
    n, top, proof, right = len(leaves), root(leaves), prove(leaves, at), {each: leaves[each] for each in at}

    def refused(top=top, n=n, members=right, proof=proof):
        with pytest.raises(ProofError, match="expected"):
            expect_members(top, n, members, proof)

    refused(proof=proof + bytes(HASH_BYTES))
    refused(proof=proof + b"\0")
    one = data.draw(st.sampled_from(at))
    refused(members={**right, one: leaves[one][:-1] + bytes([leaves[one][-1] ^ 1])})
    refused(top=hashed(top))
    if proof:
        refused(proof=proof[:-HASH_BYTES])
        refused(proof=proof[:-1])
        byte = data.draw(st.integers(0, len(proof) - 1))
        refused(proof=proof[:byte] + bytes([proof[byte] ^ 1 << data.draw(st.integers(0, 7))]) + proof[byte + 1 :])
    hashes = [proof[i : i + HASH_BYTES] for i in range(0, len(proof), HASH_BYTES)]
    if len(hashes) > 1:
        other = data.draw(st.permutations(hashes))
        if other != hashes:
            refused(proof=b"".join(other))
    free = sorted(set(range(n)) - set(at))
    if free:  # a leaf at another place
        moved = {each: leaf for each, leaf in right.items() if each != one} | {
            data.draw(st.sampled_from(free)): leaves[one]
        }
        refused(members=moved)
        refused(members=moved, proof=prove(leaves, moved))
        refused(members=right | {free[0]: leaves[free[0]]} if proof_bytes(n, [*at, free[0]]) != len(proof) else {})


@pytest.mark.parametrize("n", [2, 3, 8, 13])
def test_a_node_is_no_leaf(n):
    """What is hashed for a node, 64 bytes as a leaf has, is not taken for one leaf of a shorter list, nor the other way."""
    leaves = listed(n)
    lowest = [hashed(b"\x00" + leaf) for leaf in leaves]
    inner = [a + b for a, b in zip(lowest[::2], lowest[1::2], strict=False)] + ([leaves[-1]] if n & 1 else [])
    assert root(inner) != root(leaves)
    with pytest.raises(ProofError):
        expect_members(root(leaves), len(inner), {0: inner[0]}, prove(inner, [0]))
    assert root([hashed(b"\x00" + leaves[0])]) != hashed(b"\x00" + leaves[0])


WRONG_MEMBERS = {
    "nobody": (8, {}),
    "behind the end": (8, {8: b""}),
    "before the start": (8, {-1: b""}),
    "no number": (8, {True: b""}),
    "no list": (0, {0: b""}),
    "too long a list": ((1 << 24) + 1, {0: b""}),
}


@pytest.mark.parametrize("case", WRONG_MEMBERS)
def test_positions_that_are_none_are_refused_by_name(case):
    n, members = WRONG_MEMBERS[case]
    with pytest.raises(ProofError, match=r"expected (positions in|a list of 1 to)"):
        expect_members(bytes(32), n, members, b"")
    with pytest.raises(ConfigError):
        proof_bytes(n, members)


@pytest.mark.parametrize("positions", [[], [0, 0], [3], [-1]])
def test_nothing_is_proven_of_positions_that_are_none(positions):
    with pytest.raises(ConfigError):
        prove(listed(3), positions)


def test_a_list_of_nobody_has_no_root():
    with pytest.raises(ConfigError, match="leaves, got 0"):
        root([])
