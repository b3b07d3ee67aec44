"""Where heads start, from planted (public) people: the networks whose logits they read, the scale of each input, first weights.

It travels once, as bytes, and a plan names their SHA-256: a device takes no other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, hold_declared
from ..codec import pack_floats, unpack_floats
from ..errors import ConfigError
from ..network import NetworkSpec
from ..register.heads_plan import N_INPUTS
from .inputs import NETWORKS

#: The heads, in the order of every axis that has both.
TASKS = ("lapse", "takeoff")


@dataclass(frozen=True)
class HeadsStart:
    """`networks` (3, P): theta of each of `NETWORKS`; `centre` and `scale` (27,) of the inputs but the constant, over planted
    people; `weights` (2, 28) of each of `TASKS`, of standardised inputs. ConfigError for other shapes, for what is not finite or a
    scale that is not positive."""

    networks: Floats
    centre: Floats
    scale: Floats
    weights: Floats

    def __post_init__(self) -> None:
        hold_declared(self)
        shapes = {"centre": (N_INPUTS - 1,), "scale": (N_INPUTS - 1,), "weights": (len(TASKS), N_INPUTS)}
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ConfigError(f"expected {name} of shape {shape}, got {getattr(self, name).shape}")
        if self.networks.ndim != 2 or len(self.networks) != len(NETWORKS):
            raise ConfigError(f"expected the weights of {len(NETWORKS)} networks, got {self.networks.shape}")
        if not all(np.isfinite(part).all() for part in self._parts) or not (self.scale > 0).all():
            raise ConfigError("expected finite numbers and positive scales where heads start")

    @property
    def _parts(self) -> tuple[Floats, ...]:
        return self.networks, self.centre, self.scale, self.weights

    def to_bytes(self) -> bytes:
        """Little-endian float32, one part after the other."""
        return pack_floats(np.concatenate([part.ravel() for part in self._parts]))

    @classmethod
    def from_bytes(cls, data: bytes, network: NetworkSpec) -> HeadsStart:
        """The start of `to_bytes`, whose networks have these sizes; ConfigError for anything else."""
        sizes = [len(NETWORKS) * network.n_parameters, N_INPUTS - 1, N_INPUTS - 1, len(TASKS) * N_INPUTS]
        if len(data) != 4 * sum(sizes):
            raise ConfigError(f"expected {4 * sum(sizes)} bytes of where heads start, got {len(data)}")
        networks, centre, scale, weights = np.split(unpack_floats(data), np.cumsum(sizes)[:-1])
        return cls(networks.reshape(len(NETWORKS), -1), centre, scale, weights.reshape(len(TASKS), -1))

    @property
    def sha256(self) -> bytes:
        """What a plan names it by: 32 bytes."""
        return hashlib.sha256(self.to_bytes()).digest()
