"""A decision in words: first one paragraph that answers, then a row for each score."""

from __future__ import annotations

from ..report.format import percent
from .choice import OURS, Decision, Worth, names_of
from .expectation import Range

HEAD = ("warnings by", "warnings a week", "right", "wrong", "missed")
MONEY = "money a week"
SIMULATED = "All of this is SIMULATED data."
#: What has to be said beside money.
EFFECT = (
    "Risk is not effect: who is about to leave need not be who a contact keeps. On Hillstrom's e-mail experiment, targeting by risk "
    "alone earned a quarter of what targeting by effect did (Qini .0145 against .059). Test the offer on a random half first."
)


def paragraph(decision: Decision) -> str:
    """The answer: the line, what it is expected to come to, what came, and what the best rule would do."""
    return f"{_answer(decision)} {SIMULATED}" if decision.simulated else _answer(decision)


def _answer(decision: Decision) -> str:
    wish, ours = decision.wish, decision.ours
    if decision.value is None:
        return (
            f"Contact nobody. No one's probability of leaving is above {percent(min(wish.least_p, 1))}, which a contact that costs "
            f"{wish.offer_cost:g} and saves {wish.saved_value:g} in {percent(wish.save_share)} of the cases would need "
            f"({decision.step}s {decision.earlier.judged} to {decision.earlier.last})."
        )
    said = [
        f"Warn at {decision.key} = {decision.value:g}: {_about(ours.contacts)} warnings per 1,000 people and week, of which "
        f"{_about(ours.right)} right and {_about(ours.wrong)} wrong; {_about(ours.missed)} who leave are missed."
    ]
    if ours.money is not None:
        said.append(
            f"That is expected to bring {_about(ours.money)} a week, if {percent(wish.save_share)} of those rightly contacted stay "
            "because of it: an assumption, which nobody measured here."
        )
    came = ours.happened
    inside = [name for name in ("right", "wrong", "missed") if ours.of(name).holds(came[name])]
    said.append(
        f"Said from {decision.step}s {decision.earlier.judged} to {decision.earlier.last}; in {decision.step}s {decision.later.judged} "
        f"to {decision.later.last} it came to {came['right']:.1f} right, {came['wrong']:.1f} wrong and {came['missed']:.1f} missed, "
        f"{'all' if len(inside) == 3 else f'{len(inside)} of the 3'} within what was said (90 % intervals)."
    )
    said.append(_rule_words(decision))
    return " ".join(said)


def head(decision: Decision) -> tuple[str, ...]:
    """What the columns are; money only where it was asked for."""
    return (*HEAD, MONEY) if decision.wish.has_money else HEAD


def rows(decision: Decision) -> list[tuple[str, ...]]:
    """A row for each score, in the order of `head`: expected with its interval, and what came behind an arrow."""
    return [_row(decision.worth[name]) for name in names_of(decision.worth)]


def _row(worth: Worth) -> tuple[str, ...]:
    cells = [_cell(getattr(worth, key), worth.happened[key]) for key in ("contacts", "right", "wrong", "missed")]
    money = [] if worth.money is None else [_cell(worth.money, worth.happened["money"])]
    return (worth.name, *cells, *money)


def _cell(expected: Range, came: float) -> str:
    return f"{expected.value:.1f} ({expected.low:.1f} to {expected.high:.1f}) → {came:.1f}"


def _about(one: Range) -> str:
    return f"{one.value:.1f} ({one.low:.1f} to {one.high:.1f})"


def _rule_words(decision: Decision) -> str:
    """How the best rule stands beside ours, by what is expected of both."""
    money = decision.wish.has_money
    others = [decision.worth[name] for name in names_of(decision.worth) if name != OURS]

    def of(worth: Worth) -> Range:
        return worth.money if money and worth.money is not None else worth.right

    best, unit = max(others, key=lambda worth: of(worth).value), "money" if money else "right warnings"
    mine, theirs = of(decision.ours), of(best)
    if theirs.low > mine.high:
        return (
            f"The rule “{best.name}” is expected to do better, {_about(theirs)} {unit}: use it, it needs no training."
        )
    if mine.low > theirs.high:
        return f"The best rule, “{best.name}”, is expected to do worse: {_about(theirs)} {unit}."
    return f"The best rule, “{best.name}”, is expected to do about as well: {_about(theirs)} {unit}."
