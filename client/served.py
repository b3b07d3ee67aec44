"""What a server asks of an open device: install this, work on that, which alerts are there. These raise, into `client.gate`:
a Refusal, for what the server may know, or an InputError for what is no such argument at all; then nothing changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from shared.arguments import instance, octets, whole
from shared.arrays import Floats
from shared.errors import ConfigError, Refusal, RefusalCode
from shared.mechanisms import Entropy
from shared.plan import Plan

from .arguments import step_number
from .detection.alerts import Alert, AlertLog, mark_sent
from .gate import Gate
from .model.costs import expect_affordable
from .model.installed import Installed
from .model.runtime import pinned_model
from .model.updates import Work
from .privacy.heard import Asked
from .profile import Profile
from .telling import AppTold, OnStep
from .vault.vault import Vault

#: More than a message can say.
MOST_ROUNDS = (1 << 63) - 1


class Served(AppTold):
    """A device as far as a server asks something of it."""

    def __init__(self, vault: Vault, gate: Gate, profile: Profile, on_step: OnStep | None, entropy: Entropy) -> None:
        super().__init__(vault, gate, profile.server_key, on_step)
        self.profile, self._entropy = profile, entropy

    def has(self, plan: Plan, theta: Floats, risk: Floats, round_number: int) -> bool:
        """Whether just this is installed."""
        here = self._state.installed
        known = ((plan, Plan), (theta, np.ndarray), (risk, np.ndarray), (round_number, int | np.integer))
        if not all(isinstance(value, kind) for value, kind in known):
            return False
        return (
            here is not None
            and (here.plan, here.round_number) == (plan, round_number)
            and np.array_equal(here.theta, theta)
            and np.array_equal(here.risk, risk)
        )

    def install(
        self,
        plan: Plan,
        model: bytes,
        theta: Floats,
        risk: Floats,
        round_number: int,
        said: Asked | None = None,
    ) -> None:
        """Take a model, its plan and weights, and phi's (R,; empty: none yet), as the server `said`: see
        `DeviceState.with_model`. Heads that came under this very plan stay. Refusal if the file is not the pinned one, or the
        plan is for others, or for more than the caps allow or a device can do. The vault has all of it, and that it was said, or
        nothing."""
        instance(plan, "a plan", Plan)
        _expect_weights(theta, risk)
        round_number, model = (
            whole(round_number, "the number of a round", 0, MOST_ROUNDS),
            octets(model, "a model's file"),
        )
        if said is not None:
            instance(said, "what was said", Asked)
        if not model:
            held, version = self._state.installed, plan.features.version
            model = held.model if held and held.plan.features.version == version else pinned_model(version)
        here = self._state.installed
        heads = here.heads if here and here.plan == plan else None
        offered = Installed(plan, model, theta, risk, round_number, heads)
        self._take_up(
            offered.checked(self.profile.catalogue_sha256, self.gate.ledger.caps, self.profile.n_categories), said
        )

    def install_heads(
        self, plan_sha256: bytes, start: bytes, popularity: Floats, weights: Floats, said: Asked | None = None
    ) -> None:
        """Take heads beside the model that is there, as the server `said`: where they start, the log popularity (C,) of the categories,
        their weights (2 * 28,). Refusal (PLAN_MISMATCH) if another plan is installed, it learns no heads, or it names another start;
        the vault has all of it, and that it was said, or nothing."""
        plan_sha256, start = octets(plan_sha256, "a plan's hash"), octets(start, "where heads start")
        _expect_weights(popularity, weights)
        if said is not None:
            instance(said, "what was said", Asked)
        here = self._state.installed
        if here is None or here.plan.sha256 != plan_sha256:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        self._take_up(here.with_heads(start, popularity, weights), said)

    def _take_up(self, installed: Installed, said: Asked | None) -> None:
        """What was checked becomes what is installed, and that the server `said` it is heard. What is installed already changes
        nothing: who offers it again, as a run that goes on does, sets no detector back."""
        here = self._state.installed
        after = self._state if here and installed.is_as(here) else self._state.with_model(installed)
        with self._vault.writing("model", "watch", "heard", "ledger"):
            after.put_model(self._vault)
            after.put_watch(self._vault)
            if said:
                self.gate.hear(said)
        self._state = after

    def work(self, plan_sha256: bytes, theta: Floats | None = None) -> Work:
        """What a sum of the installed plan is answered with; Refusal, for what the server can know, if another plan is asked
        for, the weights, if any are given, do not fit, or the plan asks for more than the caps allow or a device can do."""
        plan_sha256, installed = octets(plan_sha256, "a plan's hash"), self._state.installed
        if theta is not None:
            _expect_weights(theta)
        if installed is None:
            raise Refusal(RefusalCode.PLAN_MISMATCH)
        installed.expect_asked(plan_sha256, installed.theta if theta is None else theta, self.gate.ledger.caps)
        expect_affordable(installed.plan, self.profile.n_categories)
        return Work(installed, self._state.interest, self.profile.number, self._entropy, self.problems)

    def take_alerts(self, step: int) -> list[Alert]:
        """Alerts of steps up to this one, and of models that the installed plan can have, that no earlier query took; asking
        again for the same step gives the same answer."""
        step, installed = step_number(step), self._state.installed
        alerts = mark_sent(self._state.alerts, step, installed.plan.privacy.rounds if installed else -1)
        if alerts != self._state.alerts:
            self._keep_alerts(alerts)
        return [alert for alert, taken in self._state.alerts if taken == step]

    def _keep_alerts(self, alerts: AlertLog) -> None:
        after = replace(self._state, alerts=alerts)
        with self._vault.writing("alerts"):
            after.put_alerts(self._vault)
        self._state = after


def _expect_weights(*weights: object) -> None:
    """ConfigError unless each is an array of one dimension of floats."""
    for array in weights:
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind != "f":
            raise ConfigError("expected weights, an array of one dimension of floats")
