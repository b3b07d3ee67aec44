"""What the server of a run is told: as objects in this process, and as the flat mapping that Flower carries.

Both say the same (a test holds them equal). Only a run through Flower needs the mapping.
"""

from __future__ import annotations

from client.model.runtime import model_file, pinned_model
from server.heads.settings import HeadsSettings, as_text
from server.settings import LONGEST_MEANS, RunSettings

from ..people.setup import Setup
from ..scenarios.config import Scenario
from .run_folder import AUDIENCE, RunFolder
from .sums.helper_nodes import identities

NODE_WAIT_S, EPOCH_WAIT_S, ROUND_OPEN_S = 300.0, 60.0, 3600.0
#: Server and client app of each fidelity.
COMPONENTS = {
    "devices": ("server.app:app", "simulations.federation.device_app:app"),
    "hosts": ("simulations.federation.host_server_app:app", "simulations.federation.host_app:app"),
}


def run_settings(setup: Setup, run: RunFolder, helpers: tuple[bytes, ...] = ()) -> RunSettings:
    """What the server is told in this process; of a trial, which exchanges no keys, without `helpers`. What planted people teach
    must lie in the folder: see `RunFolder.write_public`."""
    scenario = setup.scenario
    return RunSettings.of(
        setup.plan,
        scenario.server.settings(),
        setup.schedule,
        run.server_path.absolute(),
        model=pinned_model(setup.plan.features.version),
        key_file=run.signing_key_file.absolute(),
        n_categories=setup.n_categories,
        theta_file=run.theta_file if scenario.warm_start.users else None,
        theta_seed=scenario.server.theta_seed,
        risk_learning_rate=scenario.risk.learning_rate,
        public_file=run.public_file if setup.plan.risk else None,
        node_wait_s=NODE_WAIT_S,
        longest_means=longest_means(scenario),
        heads=heads_settings(setup, run),
        audience=AUDIENCE,
        helpers=helpers,
        epoch_wait_s=EPOCH_WAIT_S,
        round_open_s=ROUND_OPEN_S,
    )


def run_config(setup: Setup, run: RunFolder) -> dict[str, str | int | float | bool]:
    """Flower's run configuration: what server and simulated devices are told."""
    scenario, schedule = setup.scenario, setup.schedule
    return {
        "plan": setup.plan.canonical.hex(),
        "server.learning-rate": scenario.server.learning_rate,
        "server.momentum": scenario.server.momentum,
        "server.tail": scenario.server.tail,
        "server.theta-seed": scenario.server.theta_seed,
        "server.theta-file": str(run.theta_file.absolute()) if scenario.warm_start.users else "",
        "server.risk-learning-rate": scenario.risk.learning_rate,
        "server.public-rows": str(run.public_file.absolute()) if setup.plan.risk else "",
        "server.folder": str(run.server_path.absolute()),
        "server.model-file": str(model_file(setup.plan.features.version)),
        "server.key-file": str(run.signing_key_file.absolute()),
        "server.categories": setup.n_categories,
        "server.node-wait-s": NODE_WAIT_S,
        **{LONGEST_MEANS[line]: most for line, most in longest_means(scenario).items()},
        "server.heads-start": str(run.heads_file.absolute()) if setup.plan.heads else "",
        "server.heads-rates": as_text(scenario.heads.rates),
        "server.heads-public": str(run.heads_public_file.absolute()) if setup.calibrates_lapses else "",
        "server.heads-damping": scenario.heads.damping,
        "server.heads-tail": scenario.heads.tail,
        "server.audience": AUDIENCE,
        "server.helpers": ",".join(key.hex() for key in helpers_of(setup, run)),
        "server.epoch-wait-s": EPOCH_WAIT_S,
        "server.round-open-s": ROUND_OPEN_S,
        "schedule.train-step": schedule.train_step,
        "schedule.first-query-step": schedule.first_query_step,
        "schedule.last-query-step": schedule.last_query_step,
        "schedule.query-every-steps": schedule.query_every_steps,
        "schedule.seconds-per-step": schedule.seconds_per_step,
        "schedule.origin-s": schedule.origin_s,
        "schedule.replay-step-s": schedule.replay_step_s,
        "simulation.folder": str(run.path.absolute()),
        "simulation.devices": setup.n_users,
        "simulation.hosts": scenario.simulation.hosts,
    }


def longest_means(scenario: Scenario) -> dict[str, float]:
    """How long an honest cohort's mean is at most, in clips, by line of the ledger of all that rounds learn."""
    mine = {"update": scenario.server.longest_mean, "risk_update": scenario.risk.longest_mean}
    return mine | scenario.heads.longest_means


def heads_settings(setup: Setup, run: RunFolder) -> HeadsSettings | None:
    """What the server is told of heads; None of a plan without them, and of a trial, which learns none."""
    heads = setup.scenario.heads
    if setup.plan.heads is None or setup.heads_start is None:
        return None
    public = run.heads_public_file if setup.calibrates_lapses else None
    return HeadsSettings.load(run.heads_file, setup.plan, heads.rates, heads.damping, heads.tail, public)


def nodes_of(setup: Setup) -> int:
    """How many Flower nodes a run has."""
    if setup.scenario.simulation.fidelity == "hosts":
        return setup.scenario.simulation.hosts
    return setup.n_users + (setup.plan.sum.helpers if setup.plan.sum else 0)


def helpers_of(setup: Setup, run: RunFolder) -> tuple[bytes, ...]:
    """The identities of the helpers that hold seats; none in `hosts` fidelity, whose sum is ideal."""
    if setup.scenario.simulation.fidelity == "hosts" or setup.plan.sum is None:
        return ()
    return identities(run, setup.plan.sum.helpers)
