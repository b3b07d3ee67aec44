"""What the server asks of every device once training is over: alerts and randomised bits, step by step."""

from __future__ import annotations

from collections.abc import Iterator

from shared.clock import Clock
from shared.randomised_response import BitSchedule

from .bits import BitInbox
from .federation import Federation
from .inbox import Inbox
from .settings import RunSettings
from .state import ServerFolder


def ask_for_alerts(
    federation: Federation, settings: RunSettings, folder: ServerFolder, inbox: Inbox, clock: Clock
) -> None:
    """Query every device at every scheduled step; what identified devices tell goes to the inbox, and so do randomised
    bits, asked for at the steps at which they are due."""
    schedule, bits = settings.schedule, BitInbox(folder.inbox_file)
    steps = sorted({*schedule.query_steps, *schedule.bit_steps})
    for i, step in enumerate(steps, start=1):
        schedule.wait_for(step, clock)
        if step in schedule.query_steps:
            for device, reply in federation.ask("alerts_query", {"audience": settings.audience, "step": step}):
                inbox.add(device, reply["alerts"])
        if schedule.bits and step in schedule.bit_steps:
            bits.add_all(step, schedule.bits.epsilon_micro, tossed(federation, schedule.bits, step, settings.audience))
        folder.keep_traffic(federation.traffic.to_map())
        folder.report("queries", i, len(steps))


def tossed(federation: Federation, asked: BitSchedule, step: int, audience: str) -> Iterator[tuple[int, int]]:
    """The randomised bits of a due step: (device, bit), of the coin that was asked for. Any other is dropped and
    counted."""
    for device, reply in federation.ask("bits_query", {"audience": audience, "step": step, **vars(asked)}):
        if (reply["step"], reply["epsilon_micro"]) == (step, asked.epsilon_micro):
            yield device, reply["bit"]
        else:
            federation.traffic.dropped["other_coin"] += 1
