"""The rows that sum up a run, the same on the command line and in the report."""

from __future__ import annotations

from typing import Final

from ..baselines.interest_models import OURS
from ..evaluation.result_tables import Judged
from ..evaluation.results import Account, BitRates, ChargedLine, Results
from ..federation.metering import CpuTimes
from ..people.of_scenario import OWN
from ..people.private_choice import LINE
from ..scenarios.owners import CapsNumbers
from .dropped import REFUSALS, dropped_in_words
from .format import NONE, compact, decimal, duration, epsilon, grouped, in_bytes, percent, signed

#: Said of whatever a run with hosted devices leaves.
IDEAL_SUM = "ideal sum: no key was exchanged"


#: Rows that the command line prints of a run; the report has them all.
SHORT: Final = (
    "devices and data",
    "interest AUC, on the devices",
    "gap to the better pooled model",
    "fall alerts",
    "rise alerts",
    "epsilon to the public",
    "what the server learns",
    "rounds are added up by",
    "declined, consent aside",
    "came to nothing",
    "bytes per device, whole run",
    "CPU per device, simulated here",
)
#: Said where an AUC cannot be computed.
ONE_KIND: Final = "not to be had: the test time holds no two kinds of outcome"


def short_rows(results: Results) -> list[tuple[str, str]]:
    """The rows of SHORT, a dozen at most: for the command line, after the answer."""
    return [(name, value) for name, value in result_rows(results) if name in SHORT]


def result_rows(results: Results) -> list[tuple[str, str]]:
    """What a run was worth, as (name, value) rows of text for people; where a number is None, words say so, or there is no row."""
    interest, alerts = results.interest, results.alerts
    privacy, traffic = results.privacy, results.traffic
    kind = "simulated people" if results.simulated else "real purchase histories, replayed"
    if results.data.startswith(OWN):
        kind = "replayed"
    public = epsilon(privacy.epsilon_to_public)
    if privacy.epsilon_to_public is not None:
        public += f" (delta {privacy.delta:g}{', by the bound' if privacy.by_bound else ''})"
    return [
        (
            "devices and data",
            f"{grouped(results.devices)} device{'s' if results.devices != 1 else ''}, {results.data} ({kind})",
        ),
        *_looked_at(results),
        ("interest AUC, on the devices", ONE_KIND if interest.auc is None else decimal(interest.auc)),
        *_baselines(results),
        *([] if interest.calibration_error is None else [("calibration error", decimal(interest.calibration_error))]),
        ("detector that called", alerts.detector),
        ("fall alerts", _in_words(alerts.fall, alerts.steps, results.step)),
        ("rise alerts", _rises(results)),
        *_reasons(results),
        ("epsilon to the public", public),
        ("epsilon to the server and the seats", epsilon_to_server_in_words(privacy)),
        *((f"of that, {line.line} alone", line_in_words(line)) for line in privacy.lines if line.times),
        ("by the Rényi bound, all together", epsilon(privacy.epsilon_bound)),
        ("if a sum is broken, one message", broken_in_words(privacy)),
        ("what the server learns", learns_in_words(results)),
        *([("rounds are added up by", results.sum)] if results.sum else []),
        *_owners(results),
        *_dropped(results),
        *_bits(results.bits),
        (
            "bytes per device and round",
            f"{grouped(traffic.round_down_bytes)} down, {grouped(traffic.round_up_bytes)} up",
        ),
        (
            "bytes per device, whole run",
            f"{grouped(traffic.down_bytes_per_device)} down, {grouped(traffic.up_bytes_per_device)} up",
        ),
        *_cpu(results.cpu),
        ("people and devices, on this disk", disk_in_words(results)),
    ]


def disk_in_words(results: Results) -> str:
    """What a run's people and devices take on the disk."""
    return f"{in_bytes(results.disk_bytes)}, {in_bytes(results.disk_bytes / results.devices)} for each"


def looked_at_in_words(results: Results) -> str | None:
    """Whom tables are of, where these are not all; None where they are."""
    if results.looked_at >= results.devices:
        return None
    return (
        f"{grouped(results.looked_at)} of {grouped(results.devices)}, drawn at random, for tables, curves and the answer; alerts by "
        f"{results.step}, bytes, processor time and privacy are of all"
    )


def _looked_at(results: Results) -> list[tuple[str, str]]:
    said = looked_at_in_words(results)
    return [("users looked at", said)] if said else []


def _reasons(results: Results) -> list[tuple[str, str]]:
    """What the device told one of the drawn users of an alert; of simulated people only."""
    if not results.simulated:
        return []
    for user in results.example_users:
        for alert in user.alerts:
            in_time = user.change_step <= alert.step <= user.last_step_in_time
            if alert.reasons and alert.direction == user.direction and in_time:
                what = f"{alert.direction} in {user.category}, {results.step} {alert.step}"
                return [("one simulated user was told", f"{what}: {'; '.join(alert.reasons)}")]
    return []


def _owners(results: Results) -> list[tuple[str, str]]:
    """What the devices' owners allowed, and how often devices declined."""
    refused = {name: n for name, n in results.refused.items() if name != "consent"}
    by_code = ", ".join(f"{grouped(n)} {name.replace('_', ' ')}" for name, n in refused.items())
    return [
        ("owners' caps on a device", caps_in_words(results.caps)),
        ("declined, consent aside", by_code or "none"),
    ]


def _dropped(results: Results) -> list[tuple[str, str]]:
    """What came to nothing besides refusals; nothing is said of a run in which nothing did."""
    others = {reason: n for reason, n in results.traffic.dropped.items() if reason not in REFUSALS}
    sentences = dropped_in_words(others)
    return [("came to nothing", ". ".join(sentences))] if sentences else []


def learns_in_words(results: Results) -> str:
    """What the server learns; of a run whose sums were ideal, that they were."""
    return results.privacy.to_server + (f" ({IDEAL_SUM})" if results.fidelity == "hosts" else "")


def line_in_words(line: ChargedLine) -> str:
    """A row of what was charged: 4.13 (12 rounds, noise multiplier 3.65)."""
    if line.coin_epsilon is not None:
        how = f"{grouped(line.times)} coin{'s' if line.times != 1 else ''} of epsilon {line.coin_epsilon:g}"
    elif line.line == LINE:
        how = f"once, before the run, noise multiplier {line.noise_multiplier:g}"
    else:
        how = f"{grouped(line.times)} rounds, noise multiplier {line.noise_multiplier:g}"
    return f"{epsilon(line.epsilon_to_public)} ({how})"


def epsilon_to_server_in_words(account: Account) -> str:
    """Epsilon to the server and the seats, where it is another number than that to the public."""
    if not account.by_bound:
        return "the same: everybody is in every round, nothing rests on who was not"
    return f"{epsilon(account.epsilon_to_server)} (a device in every round)"


def broken_in_words(account: Account) -> str:
    """What one message of each kind tells whoever broke its sum: 26.3 update, 1 alert_bit."""
    return ", ".join(f"{epsilon(line.epsilon_if_broken)} {line.line}" for line in account.lines if line.times) or NONE


def caps_in_words(caps: CapsNumbers) -> str:
    """The caps that count most: at most 14 participations in a plan, epsilon <= 7.5 in 182 days."""
    period, most = caps.total[0], caps.participations_per_plan
    if period is None and most is None:
        return "lifted in this scenario"
    parts = [f"at most {grouped(most)} participations in a plan"] if most is not None else []
    parts += [f"epsilon <= {period:g} in {grouped(caps.period_days)} days"] if period is not None else []
    return ", ".join(parts)


def _cpu(cpu: CpuTimes) -> list[tuple[str, str]]:
    """What a device's work cost in this simulation."""
    if cpu.s_per_device is None:
        return []
    rounds = "" if cpu.round_ms is None else f"{compact(cpu.round_ms)} ms a round, "
    return [("CPU per device, simulated here", f"{rounds}{compact(cpu.s_per_device)} s in the whole run")]


def _bits(bits: BitRates | None) -> list[tuple[str, str]]:
    """The last rate from randomised bits, with the true one."""
    if bits is None or not bits.rates:
        return []
    last = bits.rates[-1]
    rate = f"{percent(last.estimate)}, 95 % interval {percent(last.low)} to {percent(last.high)}"
    return [
        (
            "alerted lately, by randomised bits",
            f"{rate} (true: {percent(last.true_rate)}, known to a simulation only)",
        )
    ]


def _baselines(results: Results) -> list[tuple[str, str]]:
    """The AUC of every baseline of the run, and how far ours is from pooled models."""
    others = [row for row in results.baselines if row.kind != OURS and row.auc is not None]
    rows = [(f"beside it: {row.name}", decimal(row.auc)) for row in others]
    if results.gap is not None:
        rows.append(("gap to the better pooled model", f"{signed(results.gap, 4)} AUC ({results.gap_to})"))
    if apart := results.held_out_users:
        ours = next((row.auc for row in apart.baselines if row.kind == OURS), None)
        if ours is not None:
            rows.append(("AUC on users that never trained", f"{decimal(ours)} ({grouped(apart.users)} users)"))
    return rows


def _rises(results: Results) -> str:
    """How rises did, or that none are shown."""
    if results.plan.detection.takeoff_line == 1:
        return "none are shown: too few of them would be right"
    return _in_words(results.alerts.rise, results.alerts.steps, results.step)


def _in_words(judged: Judged, steps: int, step: str) -> str:
    """How alerts did; what there is no number for is left out."""
    if not judged.alerts:
        missed = f", of {grouped(judged.turns)} to find" if judged.turns else ", and there was nothing to find"
        return f"none in {duration(steps, step)}{missed}"
    if judged.recall is None or judged.median_delay_steps is None:
        found = "there was nothing to find" if judged.recall is None else "nothing found"
        false = f"{decimal(judged.false_per_user, 2)} false per user in {duration(steps, step)}"
        return f"precision {percent(judged.precision)}, {found}, {false}"
    return (
        f"precision {percent(judged.precision)}, recall {percent(judged.recall)}, "
        f"delay {duration(judged.median_delay_steps, step)} (median), "
        f"{decimal(judged.false_per_user, 2)} false per user in {duration(steps, step)}"
    )
