"""The ServerApp: waits for devices, offers them the model, trains in private rounds, then asks for alerts and sums step by step."""

from __future__ import annotations

from dataclasses import replace

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from shared.clock import Clock
from shared.errors import RunStopped
from shared.secure_sum.entry import SumList

from .bits import bits_account
from .channel import Channel, Traffic, hasten, wait_for_nodes
from .device_nodes import DeviceNodes
from .enrolment import Enrolment
from .federation import Federation, expect_taken, refusals
from .inbox import Inbox
from .insights.sum_queries import sums_account
from .privacy.accounting import account_of
from .queries import ask_for_alerts
from .run_log.log import RunLog, digest
from .settings import RunSettings
from .signing import Signer, signing_key
from .state import ServerFolder
from .sums.enrolling import enrolled, enrolled_anew
from .sums.open_round import OpenRounds
from .sums.secure_sum import SecureSum
from .training import Training, offer_newest, train

app = ServerApp()


def log_of(settings: RunSettings) -> RunLog:
    """The log of a run, under its server's key, which this process alone writes now."""
    return RunLog(ServerFolder(settings.folder).folder, signing_key(settings.key_file))


def run(
    federation: Federation,
    settings: RunSettings,
    clock: Clock,
    rounds: OpenRounds | None = None,
    log: RunLog | None = None,
) -> None:
    """One run with its devices connected: offer, train, query, and the account of it all. RunStopped if devices decline so
    that to go on would only spend epsilon; the account then says what was spent, and why it stopped. With `rounds`, one that an
    earlier process left open is gone on with. With a `log`, it says what was done, and in which order."""
    folder = ServerFolder(settings.folder)
    privacy = settings.plan.privacy
    inbox = Inbox(folder.inbox_file)
    federation.traffic.add(folder.traffic())
    stopped: RunStopped | None = None
    try:
        offer_and_train(federation, settings, folder, clock, rounds, log)
        begun = replace(settings, run=folder.begun_s(settings.key_file, clock))
        ask_for_alerts(federation, begun, folder, inbox, clock, log)
    except RunStopped as error:
        stopped = error
    folder.keep_traffic(federation.traffic.to_map())
    accountant = Training.begin(federation, settings, folder).accountant
    coins, bit_steps = settings.schedule.bits, () if stopped else settings.schedule.bit_steps
    folder.keep_account(
        {
            "rounds_charged": accountant.rounds,
            "rounds_planned": privacy.rounds,
            **account_of(settings.plan, accountant.charged),
            "bits": bits_account(folder.inbox_file, coins, len(bit_steps), privacy.delta) if coins else None,
            "sums": sums_account(folder.sums_file, settings.plan),
            "plan_sha256": settings.plan.sha256.hex(),
            "identified_alerts": inbox.count(),
            "stopped": stopped.why if stopped else None,
        }
    )
    if log is not None:
        log.add("account", sha256=digest(folder.account_file.read_bytes()))
        log.close(folder.published())
    if stopped:
        raise stopped


def offer_and_train(
    federation: Federation,
    settings: RunSettings,
    folder: ServerFolder,
    clock: Clock,
    rounds: OpenRounds | None = None,
    log: RunLog | None = None,
) -> None:
    """Give the devices the plan and run its rounds; no round is charged for a plan that too few of them took."""
    settings.schedule.wait_for(settings.schedule.train_step, clock)
    settings = replace(settings, run=folder.begun_s(settings.key_file, clock))
    if log is not None:
        log.begin(settings.run, settings.plan.sha256)
    training, before = Training.begin(federation, settings, folder), refusals(federation.traffic)
    taken = offer_newest(federation, settings, folder)
    if training.has_rounds_left:
        expect_taken(taken, refusals(federation.traffic) - before, settings.plan.privacy)
    folder.report("offer", 1, 1)
    train(federation, settings, folder, rounds=rounds, log=log)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """One Flower run in which every node is one device, among those that are connected when the step of the training
    closes."""
    serve(grid, RunSettings.read(context.run_config))


def serve(grid: Grid, settings: RunSettings) -> None:
    """One run over a transport: it enrols whoever is connected, unless the run has its devices, and does the rest."""
    hasten(grid)
    folder, clock, traffic = ServerFolder(settings.folder), settings.schedule.clock(), Traffic()
    settings.schedule.wait_for(settings.schedule.train_step, clock)
    settings = replace(settings, run=folder.begun_s(settings.key_file, clock))
    enrolment = Enrolment(folder.enrolment_file)
    log = log_of(settings)
    log.begin(settings.run, settings.plan.sha256)  # before the first request
    channel = Channel(grid, traffic, Signer(signing_key(settings.key_file), clock, log), enrolment)
    connected = _connected(grid, enrolment, settings)
    roll = enrolled(channel, connected, settings, folder, clock)
    folder.report("devices", len(enrolment.nodes), settings.plan.privacy.population)
    rounds, lists = OpenRounds(folder.open_round_file, clock, settings.round_open_s), folder.lists()

    def keep(listed: SumList) -> None:
        lists.keep(listed)
        log.add_once("list", header=listed.header.sha256.hex(), sha256=listed.sha256.hex())

    def sums() -> SecureSum:
        """In the epoch that runs now: where the last one is over, everybody who is there is enrolled anew."""
        nonlocal roll
        if roll.epoch.ends_s <= clock.now_s():
            roll = enrolled_anew(channel, settings, folder, clock)
        epoch = roll.epoch
        log.add_once("epoch", epoch=epoch.number, root=epoch.root.hex(), devices=epoch.n_devices)
        return SecureSum(channel, roll, keep, rounds)

    run(DeviceNodes(channel, enrolment.nodes, sums), settings, clock, rounds, log)


def _connected(grid: Grid, enrolment: Enrolment, settings: RunSettings) -> list[int]:
    """The nodes of a run's devices and helpers, once they are connected: at its start as many as epsilon is stated for, and those
    of them that are not gone when it goes on. RunError if too few of them come in time."""
    if enrolment.closed:
        there = [*enrolment.nodes, *enrolment.helpers.values()]
        return wait_for_nodes(grid, len(there), settings.node_wait_s, among=there)
    expected = settings.plan.privacy.population + len(settings.helpers)
    return wait_for_nodes(grid, expected, settings.node_wait_s)
