"""The rows that sum up a run, the same on the command line and in the report, and how numbers are written there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..baselines.interest_models import OURS

#: A figure that could not be computed (no alert, no turn, one class only).
NONE = "–"
THIN_SPACE = "\u202f"


def decimal(value: float | None, digits: int = 3) -> str:
    """`value` with a fixed number of digits: 0.832."""
    return NONE if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign: +0.012, −0.003, 0.000."""
    if value is None:
        return NONE
    text = f"{abs(value):.{digits}f}"
    return text if not float(text) else f"{'+' if value > 0 else '−'}{text}"


def between(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval: 0.776 to 0.788."""
    return NONE if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def signed_between(low: float | None, high: float | None, digits: int = 3) -> str:
    """An interval of differences: −0.004 to +0.001."""
    return NONE if low is None or high is None else f"{signed(low, digits)} to {signed(high, digits)}"


def percent(value: float | None) -> str:
    """A share in per cent, with a digit more where it would round to nothing: 18 %, 0.4 %, −3 %."""
    if value is None:
        return NONE
    digits = 1 if 0 < abs(value) < 0.0095 else 0
    return f"{100 * value:.{digits}f}{THIN_SPACE}%".replace("-", "−")


def grouped(value: float | None) -> str:
    """A whole number with thin spaces between thousands: 94 622."""
    return NONE if value is None else f"{value:,.0f}".replace(",", THIN_SPACE)


def compact(value: float | None) -> str:
    """Three significant digits, without an exponent where a person would write none: 9.08, 1e-05."""
    return NONE if value is None else f"{value:.3g}" if abs(value) < 1000 else grouped(value)


def duration(steps: float | None, step: str) -> str:
    """A number of steps with its unit: 1 day, 11.5 days."""
    if steps is None:
        return NONE
    return f"{steps:g} {step}" if steps == 1 else f"{steps:g} {step}s"


def epsilon(value: float | None) -> str:
    """An epsilon; None stands for infinity, which JSON does not know."""
    return "not private (no noise)" if value is None else compact(value)


def result_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a run was worth, as (name, value) rows of text for people; a figure that is None reads "–"."""
    interest, alerts = results["interest"], results["alerts"]
    privacy, traffic = results["privacy"], results["traffic"]
    kind = "simulated people" if results["simulated"] else "real purchase histories, replayed"
    public = epsilon(privacy["epsilon_to_public"])
    if privacy["epsilon_to_public"] is not None:
        public += f" (delta {privacy['delta']:g})"
    return [
        ("devices and data", f"{grouped(results['devices'])} devices, {results['data']} ({kind})"),
        ("interest AUC, on the devices", decimal(interest["auc"])),
        *_beside(results),
        ("calibration error", decimal(interest["calibration_error"])),
        ("detector that called", alerts["detector"]),
        *((f"{way} alerts", _alert_line(alerts[way], alerts["steps"], results["step"])) for way in ("fall", "rise")),
        *_told(results),
        ("epsilon to the public", public),
        ("to the server", str(privacy["to_server"])),
        *_owners(results),
        *_bits(results),
        (
            "bytes per device and round",
            f"{grouped(traffic['round_down_bytes'])} down, {grouped(traffic['round_up_bytes'])} up",
        ),
        (
            "bytes per device, whole run",
            f"{grouped(traffic['down_bytes_per_device'])} down, {grouped(traffic['up_bytes_per_device'])} up",
        ),
        *_cpu(results.get("cpu")),
    ]


def _told(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the device told one of the drawn users of an alert; of simulated people only."""
    if not results["simulated"]:
        return []
    for user in results["example_users"]:
        for alert in user["alerts"]:
            in_time = user["change_step"] <= alert["step"] <= user["last_step_in_time"]
            if alert["reasons"] and alert["direction"] == user["direction"] and in_time:
                what = f"{alert['direction']} in {user['category']}, {results['step']} {alert['step']}"
                return [("one simulated user was told", f"{what}: {'; '.join(alert['reasons'])}")]
    return []


def _owners(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the devices' owners allowed, and how often devices declined."""
    if not (caps := results.get("caps")):
        return []
    refused = {name: n for name, n in results["refused"].items() if name != "consent"}
    by_code = ", ".join(f"{grouped(n)} {name.replace('_', ' ')}" for name, n in refused.items())
    return [("owners' caps on a device", caps_line(caps)), ("requests that devices declined", by_code or "none")]


def caps_line(caps: Mapping[str, Any]) -> str:
    """The caps that count most, in one line."""
    period, most = caps["total"][0], caps["participations_per_plan"]
    if period is None and most is None:
        return "lifted in this scenario"
    parts = [f"at most {grouped(most)} participations in a plan"] if most is not None else []
    parts += [f"epsilon <= {period:g} in {grouped(caps['period_days'])} days"] if period is not None else []
    return ", ".join(parts)


def _cpu(cpu: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What a device's work cost in this simulation."""
    if not cpu or cpu["s_per_device"] is None:
        return []
    rounds = "" if cpu["round_ms"] is None else f"{compact(cpu['round_ms'])} ms a round, "
    return [("CPU per device, simulated here", f"{rounds}{compact(cpu['s_per_device'])} s in the whole run")]


def _bits(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The last rate from randomised bits, beside the true one."""
    if not (bits := results.get("bits")) or not bits["rates"]:
        return []
    last = bits["rates"][-1]
    told = f"{percent(last['estimate'])}, 95 % interval {percent(last['low'])} to {percent(last['high'])}"
    return [
        (
            "alerted lately, by randomised bits",
            f"{told} (true: {percent(last['true_rate'])}, known to a simulation only)",
        )
    ]


def _beside(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The AUC of every baseline of the run, and how far ours is from pooled models."""
    ours = [row["name"] for row in results.get("baselines", []) if row["kind"] == OURS]
    rows = [
        (f"beside it: {b['name']}", decimal(b["auc"])) for b in results.get("baselines", []) if b["name"] not in ours
    ]
    if results.get("gap") is not None:
        rows.append(("gap to the better pooled model", f"{signed(results['gap'], 4)} AUC ({results['gap_to']})"))
    apart = results.get("held_out_users")
    if apart:
        found = next(row["auc"] for row in apart["baselines"] if row["kind"] == OURS)
        rows.append(("AUC on users that never trained", f"{decimal(found)} ({grouped(apart['users'])} users)"))
    return rows


def _alert_line(judged: Mapping[str, Any], steps: int, step: str) -> str:
    return (
        f"precision {percent(judged['precision'])}, recall {percent(judged['recall'])}, "
        f"delay {duration(judged['median_delay_steps'], step)} (median), "
        f"{decimal(judged['false_per_user'], 2)} false per user in {duration(steps, step)}"
    )
