"""The ClientApp of `hosts` fidelity: one Flower node hosts K devices, and works on all of them at once.

Each device still draws its own rows, is clipped on its own, makes its own noise and is counted on its own, by the code
of `shared` and `client` with a leading axis; training is the numpy network instead of TFLite (a test holds the two
equal). Each is charged on disk before its update goes into a sum (`host_ledger.py`); one that declines is not in it.
What a host replies to a training round is the sum modulo 2^32 of its devices' updates: what a secure sum over them would
show, without its keys (`sums/spot_check.py` puts some of them through the real one). Work goes in chunks, so that
memory grows with K by what a device's watch and ledger hold alone, some hundred numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.typing import NDArray

from client.app import carried, route
from client.detection.alerts import alert_fields
from client.detection.watch import Watch, past_steps
from client.gate import declared
from client.model.costs import expect_affordable
from client.model.installed import Installed, expect_bounds
from client.privacy.alert_bit import expect_granted, own_schedule
from client.privacy.caps import LedgerLine
from client.privacy.ledger import ALLOWED
from client.privacy.request_signature import verify
from client.vault.consent import Consent
from server.federation import HEADS_OFFER, MODEL_OFFER
from server.rounds import drawn_places
from shared.arrays import Floats, Ints, Words, as_declared
from shared.codec import decode, unpack_floats
from shared.errors import Refusal, RefusalCode, RunError
from shared.features import History
from shared.files import private_folder, replace_content, replacing
from shared.messages import REQUESTS
from shared.plan import Plan, UpdateKind
from shared.randomised_response import BitSchedule, randomised_response
from shared.rdp import Curve, coin, update_cost
from shared.register.recipes import QUERIES, Recipe

from ..capacity.estimate import HOST_ROWS_BYTES
from ..people.labelled_rows import SCORE_USERS
from ..people.looked_at import users_looked_at
from .device_app import server_key, world
from .host_alerts import HostAlerts
from .host_answers import HostAnswers, as_pairs
from .host_folder import HostFolder
from .host_ledger import HostLedger, refused_of
from .host_queries import query_sum
from .host_training import SUMS, Look, fresh_entropy
from .hosted.counters import Counters
from .hosted.head_sums import RAW, HostedRows, head_sum, load_head_rows, write_head_rows
from .hosted.living import close_steps, look_back
from .hosted.state import HostState
from .hosted.training_rows import (
    OFFSETS_FILE,
    Rows,
    is_written_out,
    remove_rows,
    rows_of_host,
    rows_of_p,
    rows_of_phi,
    write_rows,
)
from .metering import Metered
from .observations import HostNotes
from .run_folder import AUDIENCE, RunFolder
from .silence import dropout_of
from .sums.spot_check import check

#: What is asked for besides training, by its request.
ASKED = {recipe.request: recipe for recipe in QUERIES}


class Host:
    """The devices of one node, with what they keep on disk between two messages."""

    def __init__(self, run: RunFolder, partition: int, n_partitions: int) -> None:
        self._run = run
        self.population, self._owners = world(run)
        users = np.array_split(np.arange(self.population.n_users), n_partitions)[partition]
        self.first_user, self.n_users = int(users[0]), len(users)
        self.folder = run.host(partition)
        private_folder(self.folder.path)
        self._users, self._looked_at = users, users_looked_at(self.population.n_users, run.scenario().data.seed)
        held_out = run.held_out()
        self._held_out = None if held_out is None else held_out[users]
        self._counters: Counters | None = None
        self._opened: dict[tuple[str, int, bool], Rows] = {}

    @property
    def counters(self) -> Counters:
        """The counters of the hosted users over all steps; callers cut them where their devices stand."""
        if self._counters is None:
            if not Counters.are_in(self.folder.counters):
                Counters.write(self.population, self._users, self.folder.counters)
            self._counters = Counters(self.folder.counters)
        return self._counters

    def _as_of(self, plan: Plan, step: int) -> Callable[[History], History]:
        """What gives, of counters over all steps, what a plan's interest is in, as of the close of a step."""
        return lambda history: plan.read_features.of(history.until(step))

    def _parts(self, as_of: Callable[[History], History]) -> Callable[[], Iterator[History]]:
        """What gives everybody's history so, some users at a time."""
        return lambda: (as_of(part) for _, part in self.counters.some(SCORE_USERS))

    @as_declared
    def install(self, plan: Plan, theta: Floats, risk: Floats, round_number: int, step: int) -> None:
        """Keep a plan and weights; compute training rows for a new plan, start watching at a model's arrival. Refusal if
        the plan asks for more than the owners' caps, or than a device can do."""
        expect_affordable(plan, len(self.population.catalogue))
        expect_bounds(plan, self._owners.caps)
        if plan.read_features.counts_kinds and not self.counters.with_kinds:
            self._counters = Counters.write(self.population, self._users, self.folder.counters, with_kinds=True)
        if not (was_here := self._plan_on_disk() == plan):
            self.folder.plan_file.unlink(missing_ok=True)
            parts, n_features = self._parts(self._as_of(plan, step)), plan.features.n_features
            write_rows(self.folder.path, parts(), n_features, rows_of_p(plan), self._held_out, HOST_ROWS_BYTES)
            if plan.risk:
                lapses, make = private_folder(self.folder.lapses), rows_of_phi(plan, plan.risk)
                write_rows(lapses, parts(), 2 * n_features, make, self._held_out, HOST_ROWS_BYTES)
            replace_content(self.folder.trained_at_file, f"{step}".encode())
            replace_content(self.folder.plan_file, plan.canonical)
        before = HostState.load(file, plan) if (file := self.folder.state_file).exists() else None
        if before and was_here and before.is_of(theta, risk, round_number):
            return  # a run that goes on offers what is there, and closed steps stay closed
        past = range(max(0, step + 1 - past_steps(plan)), step + 1)
        watches = []
        for users, part in self.counters.some():
            begin = before.watch.of_users(users).restart if before else Watch.start
            watches.append(begin(plan, look_back(part, plan, theta, past), step))
        heads = before.heads if before else None
        HostState(theta, risk, heads, round_number, step, Watch.of_all(watches)).save(file)

    def take_offer(self, request: dict[str, Any]) -> dict[int, int]:
        """Install what a model_offer brings; how many of the devices decline, by code: all of them or none, for their
        owners' caps are alike."""
        weights = unpack_floats(request["theta"]), unpack_floats(request["risk"])
        try:
            self.install(Plan.from_bytes(request["plan"]), *weights, request["round"], request["step"])
        except Refusal as refusal:
            return {int(refusal.code): self.n_users}
        return {}

    def take_heads(self, request: dict[str, Any]) -> dict[int, int]:
        """Keep what a heads_offer brings, and compute the rows of each head; how many of the devices decline, by code."""
        try:
            if (plan := self._plan_on_disk()) is None or request["plan_sha256"] != plan.sha256:
                raise Refusal(RefusalCode.PLAN_MISMATCH)
            state = HostState.load(self.folder.state_file, plan)
            model = Installed(plan, b"", state.theta, state.risk, state.round_number)
            brought = unpack_floats(request["popularity"]), unpack_floats(request["weights"])
            heads = model.with_heads(request["start"], *brought).heads
        except Refusal as refusal:
            return {int(refusal.code): self.n_users}
        assert heads is not None
        parts = self._parts(self._as_of(plan, request["step"]))
        write_head_rows(self.folder.heads, parts, plan, heads, self._held_out, HOST_ROWS_BYTES)
        replace(state, heads=heads).save(self.folder.state_file)
        return {}

    def take(self, name: str, request: dict[str, Any]) -> dict[int, int]:
        """What comes of an offer of this name: how many of the devices decline, by code."""
        return self.take_offer(request) if name == MODEL_OFFER else self.take_heads(request)

    @property
    def ledger(self) -> HostLedger:
        """What the hosted devices have spent, as it is on disk."""
        return HostLedger.load(self.folder.ledger_file, self.n_users, self._owners.caps)

    @as_declared
    def meet(self, step: int, signed_time_s: float, devices: Ints | None = None) -> None:
        """Let a period of the ledgers of hosted users `devices` (None: of all) end, as `Gate.meet` does: their clocks show
        the close of `step`."""
        asked = np.arange(self.n_users) if devices is None else devices - self.first_user
        before = self.ledger
        ledger = before.advance(asked, float((step + 1) * self.population.step.seconds), signed_time_s)
        if ledger is not before:
            ledger.save(self.folder.ledger_file)

    @as_declared
    def charge(
        self, devices: Ints, line: LedgerLine, cost: Curve, plan_sha256: bytes | None = None
    ) -> tuple[Ints, dict[int, int]]:
        """Those of hosted users `devices` whose device takes part, charged on disk when this returns; and how many
        decline, by code."""
        ledger, codes = self.ledger.charge(devices - self.first_user, line, cost, plan_sha256)
        ledger.save(self.folder.ledger_file)
        return devices[codes == ALLOWED], refused_of(codes)

    @as_declared
    def answering(self, devices: Ints) -> Ints:
        """Those of the devices that answer a round: the others stay silent, and know nothing of it."""
        return devices[drawn_places(len(devices), 1 - dropout_of(self._run)[0])]

    @as_declared
    def collect(self, name: str, request: dict[str, Any], devices: Ints) -> tuple[Words, dict[int, int]]:
        """The sum of updates of hosted users `devices` (numbers in the whole population) that a request `name` asks for,
        but of those that decline; and how many these are, by code."""
        plan = _plan_in(self.folder)
        if request["plan_sha256"] != plan.sha256:
            raise RunError("expected a request under the installed plan")
        if name in ASKED:
            return self._query(ASKED[name], plan, request, devices)
        kind = plan.kind_of(name)
        cost, hosted = update_cost(kind.privacy, kind.n_values), None
        if name in RAW:
            hosted = self._hosted_rows(plan, request["step"])
            if not hosted.can_answer(name):
                return np.zeros(kind.n_values, np.uint32), {int(RefusalCode.PLAN_MISMATCH): len(devices)}
        devices, refused = self.charge(devices, LedgerLine(kind.reply), cost, plan.sha256)
        entropy = fresh_entropy(self.folder.path, request["round"])
        places, look = devices - self.first_user, self._check_of(plan, kind)
        if hosted is not None:
            return head_sum(name, hosted, places, devices, plan, request, entropy, look), refused
        return SUMS[name](self._rows(name, plan), places, devices, plan, request, entropy, look), refused

    def _check_of(self, plan: Plan, kind: UpdateKind) -> Look | None:
        """The check of a run's first sum of a kind, for whichever host is asked for it first; None once one was made. A host whose
        vectors fail it writes down why, and has no sum: the run, then, has no result."""
        file = self._run.sum_check_file(kind.reply)
        if plan.sum is None or file.exists():
            return None
        return lambda vectors: check(plan, kind, vectors, file)

    def _query(
        self, recipe: Recipe, plan: Plan, request: dict[str, Any], devices: Ints
    ) -> tuple[Words, dict[int, int]]:
        """The same for a sum that trains nothing, of those whose owners agreed."""
        step, kind = request["step"], plan.kind_of(recipe.request)
        agreed = self._owners.covering(recipe.consent)[devices]
        cost = update_cost(kind.privacy, kind.n_values)
        willing, refused = self.charge(devices[agreed], LedgerLine(kind.reply), cost, plan.sha256)
        if unwilling := int((~agreed).sum()):
            refused = {**refused, int(RefusalCode.CONSENT): unwilling}
        kept = self._close_until(step)
        theta = HostState.theta_in(self.folder.state_file)
        entropy = fresh_entropy(self.folder.path, request["round"])
        as_of = self._as_of(plan, step)
        told = query_sum(plan, recipe.name, lambda mine: as_of(self.counters.of(mine)), kept.told(), theta, request)
        return told(willing - self.first_user, willing, entropy), refused

    def _rows(self, name: str, plan: Plan) -> Rows:
        """The installed plan's rows for a request; opened again when another worker has written them, or taken them away."""
        file = self.folder.rows(name) / OFFSETS_FILE
        written = name, file.stat().st_mtime_ns, is_written_out(file.parent)
        if written not in self._opened:
            self._opened = {kept: rows for kept, rows in self._opened.items() if kept[0] != name}
            self._opened[written] = rows_of_host(self.folder, self.counters, plan, name)
        return self._opened[written]

    def _hosted_rows(self, plan: Plan, step: int) -> HostedRows:
        """What heads are learned from, as of the close of the step of training."""
        heads, as_of = HostState.load(self.folder.state_file, plan).heads, self._as_of(plan, step)
        teaches = np.ones(self.n_users, bool) if self._held_out is None else ~self._held_out
        rows = load_head_rows(self.folder.heads, plan, heads, self.counters, as_of) if heads else {}
        return HostedRows(self.counters, as_of, teaches, rows, heads.start.weights if heads else None)

    def answers(self, name: str, request: dict[str, Any]) -> HostAnswers:
        """What the hosted devices answer to a query of the register."""
        return ANSWERS[name](self, request)

    def alerts(self, request: dict[str, Any]) -> HostAnswers:
        """Close every step up to the query's and detect; each device that has something to tell answers through its
        gate. The others' replies are all alike: an empty list."""
        step = request["step"]
        kept = self._close_until(step)
        told = kept.take(step)
        kept.save(self.folder.alerts_file)
        nothing, replies = declared("alerts", alert_fields(step, []), Consent.LOCAL), {}
        for user, alerts in told.items():
            number = self.first_user + user
            replies[number] = declared("alerts", alert_fields(step, alerts), self._owners.consent_of(number))
        return HostAnswers.of(replies, nothing, self.n_users)

    def bits(self, request: dict[str, Any]) -> HostAnswers:
        """The randomised bits of a due step, of the devices of those who agreed. Charged on disk first; the same request
        again has the same answer, at no cost."""
        step, asked = request["step"], BitSchedule(request["epsilon_micro"], request["every_steps"])
        file = self.folder.bits_file(step, asked.epsilon_micro, asked.every_steps)
        if not file.exists():
            willing = np.flatnonzero(self._owners.who(Consent.RANDOMISED)[self._users]) + self.first_user
            refused = {int(RefusalCode.CONSENT): self.n_users - len(willing)}
            try:
                expect_granted(own_schedule(self._owners.caps, self.population.step.seconds), asked, step)
            except Refusal as refusal:
                return HostAnswers.refusals({**refused, int(refusal.code): len(willing)})
            alerted = self._close_until(step).alerted(self.n_users, asked.covered(step))
            devices, declined = self.charge(willing, LedgerLine.ALERT_BIT, coin(asked.epsilon))
            said = randomised_response(alerted[devices - self.first_user], asked.epsilon_micro)
            with replacing(file) as out:
                np.savez(out, devices=devices, bits=said, refused=as_pairs({**refused, **declined}))
        with np.load(file) as answer:
            fields = {"step": step, "epsilon_micro": asked.epsilon_micro}
            messages = [declared("alert_bit", {**fields, "bit": bit}, Consent.RANDOMISED) for bit in (0, 1)]
            refused = dict(answer["refused"].tolist())
            return HostAnswers(answer["devices"], answer["bits"].astype(np.int64), messages, b"", 0, refused)

    def _close_until(self, step: int) -> HostAlerts:
        """Close every step up to `step`, and detect; the alerts that the devices keep then."""
        plan = _plan_in(self.folder)
        state = HostState.load(self.folder.state_file, plan)
        kept = HostAlerts.load(self.folder.alerts_file, state.closed)
        if step <= state.closed:
            return kept
        self._opened.clear()
        for place in self.folder.every_rows():
            remove_rows(place)  # who is asked for alerts has learned, and whatever is drawn later can be made again
        steps = range(state.closed + 1, step + 1)
        notes = HostNotes(self.folder, self._users, self._looked_at)
        for users, part in self.counters.some():
            closed = close_steps(part, plan, state.weights, state.watch.of_users(users), steps)
            notes.add(users, closed)
        state.watch.last_step[:] = step
        kept = kept.with_raised(notes.write(), state.round_number, step)
        kept.save(self.folder.alerts_file)
        replace(state, closed=step).save(self.folder.state_file)
        return kept

    def _plan_on_disk(self) -> Plan | None:
        return self.folder.plan() if self.folder.plan_file.exists() else None


@lru_cache(maxsize=8)
def _host(run: RunFolder, partition: int, n_partitions: int) -> Host:
    return Host(run, partition, n_partitions)


def _plan_in(folder: HostFolder) -> Plan:
    """The plan that lies in a host's folder, read again when another worker has written it."""
    return _plan_at(folder, folder.plan_file.stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _plan_at(folder: HostFolder, written_ns: int) -> Plan:
    return folder.plan()


#: Who answers each query.
ANSWERS: Mapping[str, Callable[[Host, dict[str, Any]], HostAnswers]] = {
    "alerts_query": Host.alerts,
    "bits_query": Host.bits,
}


def on_message(message: Message, context: Context) -> Message:
    """What a host replies, as arrays that the simulation's own server reads. A Refusal unless the run's server signed the
    request for them; its devices have one server: one look is for all of them. Nobody plays anything again here, so that
    what a device heard last (`client/privacy/heard.py`) has nothing to do."""
    run = RunFolder(Path(str(context.run_config["simulation.folder"])))
    data = carried(message)
    envelope = verify(data, server_key(run))
    name, request = decode(REQUESTS, envelope.body)
    if request["audience"] != AUDIENCE:
        raise Refusal(RefusalCode.AUDIENCE)
    host = _host(run, *(int(context.node_config[k]) for k in ("partition-id", "num-partitions")))
    devices = _devices(message)
    if devices is not None:
        devices = host.answering(devices)
    host.meet(request["step"], envelope.time_s, devices)
    if name in (MODEL_OFFER, HEADS_OFFER):
        refused = host.take(name, request)
        return _reply(message, users=np.array([host.first_user, host.n_users]), refused=as_pairs(refused))
    if devices is None:
        return _reply(message, **host.answers(name, request).to_arrays())
    total, refused = host.collect(name, request, devices)
    survivors = len(devices) - sum(refused.values())
    return _reply(message, total=total, survivors=np.array([survivors]), refused=as_pairs(refused))


def _devices(message: Message) -> Ints | None:
    """The devices that a request is for; None for all of the node's."""
    if "devices" not in (extra := message.content["host"]):
        return None
    devices: Ints = extra["devices"].numpy()  # type: ignore[union-attr]
    return devices


def _reply(message: Message, **arrays: NDArray[Any]) -> Message:
    content = ArrayRecord({name: Array(array) for name, array in arrays.items()})
    return Message(RecordDict({"host": content}), reply_to=message)


hosted = ClientApp()
for kind in REQUESTS.values():
    route(hosted, kind, on_message)
app = Metered(hosted)
