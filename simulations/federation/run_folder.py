"""A run's folder: the only place that knows what its files are called, and where they lie.

scenario.json       what was asked for, with every default
scenario.toml       of a log of one's own, the same with comments, to be edited and given back
population/         everybody's events (exists in a simulation only)
consents.npy, caps.json  what they agree to tell, and let be spent
held_out.npy        which users never train, if any
rivals.npz          what rules and models that the reader brought along say, if any
theta0.npy, public.npz, heads0.f32  what planted people teach before any private round
app/, flower/       the app folder that Flower runs, and Flower's own files
devices/<n>/        each device's state, and what its app noted down
hosts/<n>/          the same of many devices at once (`host_folder.py`)
cpu/                processor time of the simulated devices
sum-<kind>.json     that the real protocol gave an ideal sum, too (`sums/spot_check.py`)
server/             the server's models, account and inbox (`server/state.py`), and the key that it signs with
server.pub          the public half, which the devices pin
enrolment.pem       the key that signs the list of devices, which the server does not have
helpers/<n>/        each helper's key and store
results.json, report.html
audit.json          whether what was released keeps what is stated (`simulations/audit/audit.py`)
sweep/              a sweep of the same scenario, if one was put there
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.heads import CROWD, HEADS
from server.heads.settings import start_in
from server.run_log.log import LOG_FILE, RunLog
from server.signing import public_bytes, signing_key
from server.state import ACCOUNT_FILE, TRAFFIC_FILE, ServerFolder
from shared.arrays import Bools
from shared.errors import ConfigError
from shared.files import UNFINISHED, private_folder, replace_content, replacing, text_of
from shared.heads import Heads
from shared.plan import Plan

from ..folder_lock import LOCK_FILE
from ..people.heads_start import begun
from ..people.planted import Saved
from ..people.public_start import public_history, public_lapse_rows, warm_theta
from ..people.setup import People, Setup
from ..rivals import scores as rivals
from ..rivals.scores import TheirScores
from ..scenarios.config import Scenario
from ..scenarios.held_out import held_out_users, read_mask, write_mask
from ..scenarios.owners import Owners
from .host_folder import HostFolder

#: Numbers as JSON: of a run, of a sweep and of a bench.
RESULTS_FILE: Final = "results.json"
#: Whom a run's server asks, and what its devices were set up for.
AUDIENCE: Final = "simulation"


@dataclass(frozen=True)
class RunFolder:
    """The folder `path` of one run, which need not be there yet."""

    path: Path

    @property
    def scenario_file(self) -> Path:
        return self.path / "scenario.json"

    @property
    def text_file(self) -> Path:
        """The scenario of a log of one's own once more, for people: to be edited and given back."""
        return self.path / "scenario.toml"

    @property
    def population(self) -> Path:
        """The folder of everybody's events."""
        return self.path / "population"

    @property
    def consents_file(self) -> Path:
        return self.path / "consents.npy"

    @property
    def caps_file(self) -> Path:
        return self.path / "caps.json"

    @property
    def held_out_file(self) -> Path:
        return self.path / "held_out.npy"

    @property
    def rivals_file(self) -> Path:
        return self.path / "rivals.npz"

    @property
    def theta_file(self) -> Path:
        """Where training begins, if planted people say so."""
        return self.path / "theta0.npy"

    @property
    def public_file(self) -> Path:
        """The rows that phi starts from."""
        return self.path / "public.npz"

    @property
    def heads_file(self) -> Path:
        """Where heads start, if planted people teach any."""
        return self.path / "heads0.f32"

    @property
    def heads_public_file(self) -> Path:
        """Public people who calibrate lapses."""
        return self.path / "heads-public.npz"

    @property
    def app(self) -> Path:
        return self.path / "app"

    @property
    def flower(self) -> Path:
        return self.path / "flower"

    @property
    def cpu(self) -> Path:
        return self.path / "cpu"

    @property
    def devices(self) -> Path:
        return self.path / "devices"

    def device(self, user: int) -> Path:
        """The folder of one device of its own."""
        return self.devices / str(user)

    @property
    def hosts(self) -> Path:
        return self.path / "hosts"

    def host(self, number: int) -> HostFolder:
        """The folder of one node that hosts many devices."""
        return HostFolder(self.hosts / str(number))

    def every_host(self) -> list[HostFolder]:
        """The folders of all nodes that host devices, in their order; empty if there are none."""
        folders = self.hosts.iterdir() if self.hosts.exists() else ()
        return [HostFolder(folder) for folder in sorted(folders, key=lambda folder: int(folder.name))]

    @property
    def server_path(self) -> Path:
        return self.path / "server"

    @property
    def server(self) -> ServerFolder:
        """The server's own folder, which is made if it is not there."""
        return ServerFolder(self.server_path)

    @property
    def signing_key_file(self) -> Path:
        """The server's private key."""
        return self.server_path / "signing.pem"

    @property
    def server_key_file(self) -> Path:
        """The server's public key, which every simulated device pins."""
        return self.path / "server.pub"

    @property
    def enrolment_key_file(self) -> Path:
        """The private key that signs the list of devices."""
        return self.path / "enrolment.pem"

    def enrolment_private_key(self) -> Ed25519PrivateKey:
        return signing_key(self.enrolment_key_file)

    def enrolment_key(self) -> bytes:
        """The 32 bytes under which devices and helpers believe an epoch."""
        return public_bytes(self.enrolment_private_key())

    def helper(self, number: int) -> Path:
        """The folder of one helper."""
        return self.path / "helpers" / str(number)

    def sum_check_file(self, kind: str) -> Path:
        """What came of the check of one kind of ideal sums."""
        return self.path / f"sum-{kind}.json"

    @property
    def results_file(self) -> Path:
        return self.path / RESULTS_FILE

    @property
    def report_file(self) -> Path:
        return self.path / "report.html"

    @property
    def audit_file(self) -> Path:
        """Whether what was released keeps what is stated."""
        return self.path / "audit.json"

    @property
    def withdrawal_file(self) -> Path:
        """What one person's withdrawal comes to, where that was measured."""
        return self.path / "withdrawal.json"

    @property
    def swept_file(self) -> Path:
        """The numbers of a sweep that was put into this folder."""
        return self.path / "sweep" / RESULTS_FILE

    @property
    def begun(self) -> bool:
        """Whether `prepare` came to its end here."""
        return self.consents_file.exists()

    @property
    def stopped(self) -> str | None:
        """Why the server stopped the run before its end; None if it did not. ConfigError if its account is damaged."""
        file = self.server_path / ACCOUNT_FILE
        try:
            why = json.loads(text_of(file)).get("stopped") if file.exists() else None
        except (ValueError, AttributeError):
            raise ConfigError(f"expected the account of a run, got {self.path}: {file.name} is damaged") from None
        return str(why) if why else None

    @property
    def has_account(self) -> bool:
        """Whether the federation came to its end here: its account is there, and tells of no stop before that."""
        names = (ACCOUNT_FILE, TRAFFIC_FILE)
        return all((self.server_path / name).exists() for name in names) and self.stopped is None

    @property
    def has_ended(self) -> bool:
        """Whether all is there that a run leaves."""
        return self.has_account and self.results_file.exists() and self.report_file.exists()

    def vouch(self) -> None:
        """Say in the run's log, if it has one, by hash, what its files hold that a reviewer sees: what is said last counts."""
        server = self.server
        if (server.folder / LOG_FILE).exists():
            shown = (
                self.scenario_file, self.server_key_file, self.theta_file, self.public_file, self.heads_file,
                self.heads_public_file, self.results_file, self.report_file, self.audit_file, self.withdrawal_file,
                *sorted(self.path.glob("sum-*.json")),
            )  # fmt: skip
            files = server.published() | {f.relative_to(self.path).as_posix(): f for f in shown if f.exists()}
            RunLog(server.folder, signing_key(self.signing_key_file)).close(files)

    def scenario(self) -> Scenario:
        """What was asked for. OSError if nothing is there, ValueError if it is damaged."""
        return Scenario.model_validate_json(text_of(self.scenario_file))

    def ended_scenario(self) -> Scenario:
        """What a run whose federation has ended was asked for; ConfigError if it is no run, or has not come to its end."""
        if not self.scenario_file.exists():
            raise ConfigError(f"expected the folder of a run, got {self.path}: {self.scenario_file.name} is missing")
        try:
            scenario = self.scenario()
        except ValueError:
            raise ConfigError(
                f"expected the folder of a run, got {self.path}: {self.scenario_file.name} is damaged"
            ) from None
        if why := self.stopped:
            raise ConfigError(f"expected a run that has ended, got {self.path}, which stopped: {why}")
        if not self.has_account:
            raise ConfigError(
                f"expected a run that has ended, got {self.path}: go on with it (ebbtide simulate --resume)"
            )
        return scenario

    def begun_scenario(self) -> Scenario | None:
        """What the run that began here was asked for; None if there is none, or if its scenario is damaged."""
        try:
            return self.scenario() if self.begun else None
        except (OSError, ValueError):
            return None

    def owners(self) -> Owners:
        return Owners.load(self.consents_file, self.caps_file)

    def held_out(self) -> Bools | None:
        """Which users never train (K,); None if all do."""
        return read_mask(self.held_out_file)

    def setup(self, scenario: Scenario, population: People) -> Setup:
        """The setup of the run that began here: its heads start where they did, by whomever they were taught."""
        start = self.heads_file.read_bytes() if self.heads_file.exists() else None
        return Setup.of(scenario, population, start=start)

    def heads(self, plan: Plan) -> Heads | None:
        """Heads as they were published last; None of a plan without, and before the first sum that they are learned by."""
        server = self.server
        if plan.heads is None or not server.has_models(CROWD):
            return None
        start = start_in(self.heads_file, plan)
        weights = server.models(HEADS)[-1].reshape(start.weights.shape) if server.has_models(HEADS) else start.weights
        return Heads(start, server.models(CROWD)[-1], weights)

    def rivals(self) -> list[TheirScores]:
        """What the reader's own rules and models say; empty if there are none."""
        return rivals.read(self.rivals_file)

    def write_rivals(self, found: Sequence[TheirScores]) -> None:
        """Leave it here, in place of what is there."""
        with replacing(self.rivals_file) as file:
            rivals.save(found, file)

    def server_key(self) -> bytes:
        """The 32 bytes that the devices pin."""
        return self.server_key_file.read_bytes()

    def expect_free(self, *, overwrite: bool) -> None:
        """ConfigError if there is something that is not a run's; or if a run has begun there, unless it may be overwritten. What
        was cut off before it spent anything may be."""
        if any(place.name != LOCK_FILE for place in self.path.glob("*")):
            if not self.scenario_file.exists():
                raise ConfigError(f"expected an empty folder or an earlier run, got {self.path}")
            if self.begun and not overwrite:
                raise ConfigError(
                    f"expected a free folder, but {self.path} holds a run that "
                    + (
                        "has ended: --overwrite replaces it"
                        if self.has_ended
                        else "can be gone on with (--resume) or replaced (--overwrite)"
                    )
                    + ", another --out leaves it"
                )

    def prepare(self, setup: Setup, population: Saved) -> None:
        """An empty folder with the people, the mask of held-out users, the server's keys and, last, what the people
        decided in it. ConfigError, and nothing is emptied, if it is not a run's. Whether a run may be emptied at all is asked
        before: see `expect_free`."""
        held_out = held_out_users(setup.scenario, setup.n_users)
        owners = setup.owners()
        self.expect_free(overwrite=True)
        self._empty()
        private_folder(self.path).chmod(0o700)  # also one that was there: private keys come into it
        # In place: from this moment on the folder is a run's, and may be emptied.
        self.scenario_file.write_text(setup.scenario.model_dump_json(indent=1), encoding="utf-8")
        population.save(self.population)
        replace_content(self.server_key_file, public_bytes(signing_key(self.signing_key_file)))
        write_mask(self.held_out_file, held_out)
        owners.save(self.consents_file, self.caps_file)

    def _empty(self) -> None:
        """Take away all but the lock, the scenario's file last: until then, what is left may be emptied."""
        for place in sorted(self.path.glob("*"), key=lambda place: place == self.scenario_file):
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            elif place.name != LOCK_FILE:
                place.unlink()

    def remove_unfinished(self) -> None:
        """Take away files that were being written when their writers were ended. No process may be at work."""
        for file in self.path.rglob(f"*{UNFINISHED}"):
            with suppress(OSError):
                file.unlink()

    def expect_same_run(self, scenario: Scenario) -> None:
        """ConfigError unless a run of the very same scenario is here, with its people and the key that they pinned."""
        if not self.scenario_file.exists() or not self.begun:
            raise ConfigError(f"expected an interrupted run to go on with, got {self.path}: start it without --resume")
        if self.has_ended:
            raise ConfigError(
                f"expected an interrupted run to go on with, but {self.path} holds one that has ended: ebbtide evaluate "
                "makes its report again, --overwrite replaces it"
            )
        try:
            same = self.scenario() == scenario
        except ValueError:
            raise ConfigError(
                f"expected a run to go on with, got {self.path}: {self.scenario_file.name} is damaged, or of another version"
            ) from None
        if not same:
            raise ConfigError(
                f"expected the scenario that {self.path} began with: give the same options, or another --out"
            )
        pinned, key = self.server_key_file, self.signing_key_file
        if not (pinned.exists() and key.exists()) or pinned.read_bytes() != public_bytes(signing_key(key)):
            raise ConfigError(f"expected the server's key that {self.path} began with: start it without --resume")

    def write_public(self, setup: Setup) -> None:
        """Leave what planted (public) people teach where the server finds it: theta 0, the rows that phi starts from, and where heads
        start. What is there already stays."""
        if setup.heads_start is not None and not self.heads_file.exists():
            replace_content(self.heads_file, setup.heads_start.to_bytes())
        if setup.calibrates_lapses and not self.heads_public_file.exists():
            begun(setup.lesson).lapses.save(self.heads_public_file)
        if setup.scenario.warm_start.users and not self.theta_file.exists():
            with replacing(self.theta_file) as file:
                np.save(file, warm_theta(setup))
        if setup.plan.risk and not self.public_file.exists():
            rows = public_lapse_rows(public_history(setup), setup, setup.scenario.warm_start.seed)
            rows.save(self.public_file)
