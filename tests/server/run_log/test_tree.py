"""Merkle trees as RFC 6962 has them: the published reference roots, and proofs of every leaf and every size, by another's code."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.run_log.tree import EMPTY, GrowingTree, consistency_proof, inclusion_proof, root_of
from shared.errors import ConfigError
from shared.secure_sum.merkle import root
from simulations.evidence.verifier import goes_on, includes, roots

#: The reference tree of Certificate Transparency: its eight leaves, and its root at every size.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_reference_tree_has_its_roots_here_and_in_the_verifier():
    tree = GrowingTree()
    assert tree.root == EMPTY
    for size, expected in enumerate(ROOTS, 1):
        tree.append(LEAVES[size - 1])
        assert (tree.size, tree.root.hex()) == (size, expected) and root_of(LEAVES[:size]).hex() == expected
    assert [root.hex() for root in roots(LEAVES)][1:] == ROOTS


def test_the_reference_proofs_are_made_and_believed():
    """The audit path of the sixth leaf of eight, and the step from six leaves to eight, as the reference has them."""
    path = [proof.hex() for proof in inclusion_proof(LEAVES, 5)]
    assert path == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    step = [proof.hex() for proof in consistency_proof(LEAVES, 6)]
    assert step == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=40))
def test_it_is_the_tree_of_the_secure_sum(leaves):
    assert root_of(leaves) == root(leaves)


@pytest.mark.parametrize("size", range(1, 34))
def test_every_proof_of_every_leaf_and_of_every_size_holds_and_no_other(size):
    leaves = [bytes([size, number]) for number in range(size)]
    at = list(roots(leaves))
    for index in range(size):
        path = inclusion_proof(leaves, index)
        assert includes(at[size], size, index, leaves[index], path)
        assert not includes(at[size], size, index, b"another", path)
        assert size == 1 or not includes(at[size], size, (index + 1) % size, leaves[index], path)
        assert not includes(at[size], size, index, leaves[index], [*path, bytes(32)])
        step = consistency_proof(leaves, index + 1)
        assert goes_on(at[index + 1], index + 1, at[size], size, step)
        assert not goes_on(bytes(32), index + 1, at[size], size, step)
        assert not goes_on(at[index + 1], index + 1, at[size], size, [*step, bytes(32)])
        for cut in range(len(step)):
            assert not goes_on(at[index + 1], index + 1, at[size], size, [*step[:cut], bytes(32), *step[cut + 1 :]])


def test_what_is_not_there_has_no_proof():
    for index in (-1, 8):
        with pytest.raises(ConfigError, match="index in 0..7"):
            inclusion_proof(LEAVES, index)
    for size in (0, 9):
        with pytest.raises(ConfigError, match="size in 1..8"):
            consistency_proof(LEAVES, size)
