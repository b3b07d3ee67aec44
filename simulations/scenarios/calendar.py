"""Whether a protocol's steps fit one another and the data: what is trained on is over before what is tested begins, and what is
tested is known before the data end."""

from __future__ import annotations

from shared.errors import ConfigError

from .config import ProtocolSection, Scenario


def check_calendar(scenario: Scenario, protocol: ProtocolSection) -> None:
    """ConfigError, which names the steps, unless a run of the scenario in this protocol has something to train on, to ask for
    and to judge."""
    last_step = protocol.n_steps - 1
    ranges = {
        name: getattr(protocol, name) for name in ("train_steps", "test_steps", "alert_steps", "lapse_train_steps")
    }
    for name, (first, last) in ranges.items():
        _expect(0 <= first <= last <= last_step, f"{name} as first and last of 0..{last_step}", (first, last))
    _expect_ascending("short_steps", protocol.short_steps, protocol.window_steps)
    _expect_ascending("ewma_steps", protocol.ewma_steps, last_step)
    (train_first, _), (test_first, test_last) = protocol.train_steps, protocol.test_steps
    alert_first, alert_last = protocol.alert_steps
    known = protocol.train_at
    _expect(
        protocol.window_steps <= train_first + 1,
        f"window_steps <= {train_first + 1}, the steps up to the first train step",
        protocol.window_steps,
    )
    _expect(
        known < test_first, f"test_steps after step {known}, at whose close the last train labels are known", test_first
    )
    _expect(
        test_last + protocol.horizon_steps <= last_step,
        f"test_steps whose labels, {protocol.horizon_steps} steps later, are known by step {last_step}",
        test_last,
    )
    _expect(
        known < alert_first and alert_last <= test_last,
        f"alert_steps in {known + 1}..{test_last}, when devices watch and are asked",
        (alert_first, alert_last),
    )
    _expect(
        alert_first + protocol.lapse_steps <= last_step,
        f"alert_steps that a lapse of {protocol.lapse_steps} steps can follow by step {last_step}",
        alert_first,
    )
    if scenario.data.name != "planted":  # whose turns are known, and are not lapses
        _expect(
            alert_last + protocol.lapse_steps <= last_step,
            f"alert_steps that end by step {last_step - protocol.lapse_steps}, so that it is known which were followed by a "
            f"lapse of {protocol.lapse_steps} steps",
            (alert_first, alert_last),
        )
    _expect(
        protocol.lapse_train_steps[1] + protocol.lapse_steps <= alert_first,
        f"lapse_train_steps known by the close of alert step {alert_first}, {protocol.lapse_steps} steps later",
        protocol.lapse_train_steps[1],
    )
    every, n_test = scenario.simulation.query_every_steps, test_last - test_first + 1
    _expect(every <= n_test, f"simulation.query_every_steps <= {n_test}, the test steps", every)
    if every_bit := scenario.bits.every_steps:
        due = range(known + 1 + -(known + 2) % every_bit, test_last + 1, every_bit)
        _expect(bool(due), f"bits.every_steps that is due in steps {known + 1}..{test_last}", every_bit)


def _expect_ascending(name: str, steps: tuple[int, ...], most: int) -> None:
    _expect(list(steps) == sorted(set(steps)) and steps[-1] <= most, f"{name} ascending, up to {most}", steps)


def _expect(condition: bool, expectation: str, value: object) -> None:
    if not condition:
        raise ConfigError(f"expected {expectation}, got {value}")
