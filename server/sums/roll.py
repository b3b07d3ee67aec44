"""Who is enrolled in an epoch, as the server has to know it: which node is which leaf of the signed list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shared.errors import RunError
from shared.secure_sum.epoch import Epoch
from shared.secure_sum.merkle import prove, root


class Roll:
    """The signed list of an epoch, and the nodes behind it.

    RunError unless the leaves, in their order, are those that were signed, and every helper that the epoch names has a
    node.
    """

    def __init__(self, epoch: Epoch, leaves: Sequence[bytes], nodes: Mapping[bytes, int]) -> None:
        self.epoch, self.leaves = epoch, tuple(leaves)
        if len(leaves) != epoch.n_devices or root(leaves) != epoch.root:
            raise RunError("expected the list of devices that the epoch was signed over")
        self._nodes = dict(nodes)
        self._indices = {leaf: index for index, leaf in enumerate(self.leaves)}
        self._leaf_of = {node: leaf for leaf, node in nodes.items()}
        if missing := [leaf for leaf in epoch.helpers if leaf not in nodes]:
            raise RunError(f"expected a node of each of {len(epoch.helpers)} helpers, got {len(missing)} without one")

    def index_of(self, node: int) -> int | None:
        """Where the device of a node stands in the list; None if it is not in it."""
        return self._indices.get(self._leaf_of.get(node, b""))

    def node_of(self, leaf: bytes) -> int | None:
        """The node of a leaf, a device's or a helper's."""
        return self._nodes.get(leaf)

    def node_at(self, index: int) -> int | None:
        return self._nodes.get(self.leaves[index])

    def proof(self, indices: Iterable[int]) -> bytes:
        """That these devices are in the list."""
        return prove(self.leaves, indices)
