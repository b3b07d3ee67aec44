"""The ServerApp: waits for devices, offers them the model, trains in private rounds, then asks for alerts step by step."""

from __future__ import annotations

import time

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from shared.clock import Clock
from shared.errors import RunError

from .accounting import epsilon_to_public, epsilon_unamplified, likely_participations, to_server
from .bits import BitInbox, bits_account
from .departed import Departed
from .federation import DeviceNodes, Federation
from .inbox import Inbox
from .rounds import Channel, Traffic
from .settings import RunSettings
from .signing import Signer, signing_key
from .state import ServerFolder
from .training import _finite, offer, train

app = ServerApp()


def hasten(grid: Grid) -> None:
    """Look for replies every 10 ms where the grid polls (by default it does so every 100 ms)."""
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = 0.01


def wait_for_nodes(grid: Grid, expected: int, timeout_s: float) -> list[int]:
    """Ids of at least `expected` connected nodes, sorted; RunError after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while len(nodes := sorted(grid.get_node_ids())) < expected:
        if time.monotonic() > end:
            raise RunError(f"expected {expected} connected devices within {timeout_s:.0f} s, got {len(nodes)}")
        time.sleep(0.2)
    return nodes


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
            for device, alerts in federation.alerts(step):
                inbox.add(device, alerts)
        if schedule.bits and step in schedule.bit_steps:
            bits.add_all(step, schedule.bits.epsilon_micro, federation.bits(schedule.bits, step))
        folder.keep_traffic(federation.traffic.to_map())
        folder.report("queries", i, len(steps))


def run(federation: Federation, settings: RunSettings, clock: Clock) -> None:
    """One run with its devices connected: offer, train, query, and the account of it all."""
    folder = ServerFolder(settings.folder)
    privacy = settings.plan.privacy
    inbox = Inbox(folder.inbox_file)
    federation.traffic.add(folder.traffic())
    settings.schedule.wait_for(settings.schedule.train_step, clock)
    offer(federation, settings, settings.theta, 0, with_file=True)
    folder.report("offer", 1, 1)
    accountant = train(federation, settings, folder)
    ask_for_alerts(federation, settings, folder, inbox, clock)
    folder.keep_traffic(federation.traffic.to_map())
    coins, bit_steps = settings.schedule.bits, settings.schedule.bit_steps
    participations = likely_participations(privacy)
    likely = tuple((part, likely_participations(part)) for part in settings.plan.charged[1:])
    folder.keep_account(
        {
            "rounds_charged": accountant.rounds,
            "rounds_planned": privacy.rounds,
            "delta": privacy.delta,
            "epsilon_rdp": _finite(accountant.epsilon),
            "risk_rounds_charged": sum(count for _, count in accountant.also),
            "epsilon_to_public": _finite(epsilon_to_public(privacy, accountant.rounds, accountant.also)),
            "epsilon_unamplified": _finite(epsilon_unamplified(privacy, participations, likely)),
            "likely_participations": participations,
            "to_server": to_server(coins, len(bit_steps), privacy.delta),
            "bits": bits_account(folder.inbox_file, coins, len(bit_steps), privacy.delta) if coins else None,
            "plan_sha256": settings.plan.sha256.hex(),
            "identified_alerts": inbox.count(),
        }
    )


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One Flower run in which every node is one device."""
    settings = RunSettings.read(context.run_config)
    population = settings.plan.privacy.population
    hasten(grid)
    folder, clock = ServerFolder(settings.folder), settings.schedule.clock()
    departed = Departed(folder.departed_file)
    nodes = wait_for_nodes(grid, population - len(departed), settings.node_wait_s)
    folder.report("devices", len(nodes), population)
    line = Channel(grid, Traffic(), Signer(signing_key(settings.key_file), clock), departed)
    run(DeviceNodes(line, nodes), settings, clock)
