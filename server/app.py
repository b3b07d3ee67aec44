"""The ServerApp: waits for devices, offers them the model, trains in private rounds, then asks for alerts step by step."""

from __future__ import annotations

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from shared.clock import Clock

from .accounting import account_of
from .bits import bits_account
from .channel import Channel, Traffic, hasten, wait_for_nodes
from .departed import Departed
from .device_nodes import DeviceNodes
from .federation import Federation
from .inbox import Inbox
from .queries import ask_for_alerts
from .settings import RunSettings
from .signing import Signer, signing_key
from .state import ServerFolder
from .training import offer, train

app = ServerApp()


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
    folder.keep_account(
        {
            "rounds_charged": accountant.rounds,
            "rounds_planned": privacy.rounds,
            **account_of(settings.plan, accountant.charged),
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
    channel = Channel(grid, Traffic(), Signer(signing_key(settings.key_file), clock), departed)
    run(DeviceNodes(channel, nodes), settings, clock)
