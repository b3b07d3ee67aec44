"""A federation without a network, in this process: for tests, and wherever Flower's start-up would cost more than the run.

`LocalHost` is all devices of a run on one host, called directly: they are clipped, noised and counted as in any host.
`LocalGrid` is Flower's transport: every message gets an id, goes straight to a real app here, and its reply comes back;
left out are processes, sockets and time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from server.channel import Traffic
from server.federation import MODEL_OFFER
from server.rounds import poisson_cohort
from shared.arrays import Ints, Words
from shared.plan import Plan, UpdateKind

from .host_answers import count_refusals, count_silent
from .host_app import Host
from .run_folder import RunFolder

#: What a node does with a request: one reply, several, or none.
Node = Callable[[Message], Message | list[Message] | None]


class LocalHost:
    """All devices of a run folder, hosted here."""

    def __init__(self, run: RunFolder) -> None:
        self.host = Host(run, 0, 1)
        self.traffic = Traffic()

    def offer(self, fields: Mapping[str, Any], name: str = MODEL_OFFER) -> int:
        self._meet(fields["step"])
        refused = self.host.take(name, dict(fields))
        count_refusals(self.traffic, refused)
        return self.host.n_users - sum(refused.values())

    def sample(self, sampling_rate: float) -> Sequence[int]:
        return poisson_cohort(range(self.host.n_users), sampling_rate)

    def collect(
        self, cohort: Sequence[int], plan: Plan, request: Mapping[str, Any], kind: UpdateKind
    ) -> tuple[Words, int]:
        devices = self.host.answering(np.asarray(cohort, np.int64))
        count_silent(self.traffic, len(cohort) - len(devices))
        self._meet(request["step"], devices)
        total, refused = self.host.collect(kind.request, dict(request), devices)
        count_refusals(self.traffic, refused)
        return total, len(devices) - sum(refused.values())

    def ask(self, name: str, fields: Mapping[str, Any]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        self._meet(fields["step"])
        yield from self.host.answers(name, dict(fields)).read(self.traffic)

    def _meet(self, step: int, devices: Ints | None = None) -> None:
        """The server's clock shows the close of the step that it asks at, as the devices' do."""
        self.host.meet(step, float((step + 1) * self.host.population.step.seconds), devices)


def context_of(node: int, **config: Any) -> Context:
    """What Flower gives to the app of a node; `config` is its node configuration."""
    return Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config={})


def wire(message: Message) -> bytes:
    """The bytes that a message carries."""
    return message.content["wire"]["bytes"].numpy().tobytes()  # type: ignore[union-attr]


class LocalGrid(Grid):
    """Delivers each message to the node it is for; `asked` keeps (node, type, bytes) of what passed."""

    def __init__(self, nodes: dict[int, Node]) -> None:
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # set by Flower in a real ServerApp
        self.nodes = nodes
        self.asked: list[tuple[int, str, bytes]] = []

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        out: list[Message] = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = f"{len(self.asked)}"  # as Flower's own grids do
            self.asked.append((node, message.metadata.message_type, wire(message)))
            reply = self.nodes[node](message)
            out += reply if isinstance(reply, list) else [reply] if reply is not None else []
        return out
