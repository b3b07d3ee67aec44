"""The answer of a run in words: what its warnings are worth, what a rule would do, what it costs, and what to do now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..evaluation.answer import AVERAGE, BG_NBD, OWN_SILENCE, PEOPLE, SILENCE, TWO_WINDOWS
from ..evaluation.result_tables import Answer, ContactsWorth, Price, Range, RuleWorth
from ..evaluation.results import Results
from ..evaluation.verdict import LEAST_CONTACTS, LEAST_TURNS, LEAST_USERS
from .format import compact, decimal, duration, grouped, in_bytes, percent

#: Whom each rule contacts; it looks at one's own counters and at nothing else.
RULES: Final[Mapping[str, str]] = {
    AVERAGE: "contact whose average activity over {window} is lowest",
    TWO_WINDOWS: "contact whose average activity over {two_windows} is lowest",
    SILENCE: "contact who has been silent for longest",
    OWN_SILENCE: "contact who has been silent for longest, counted in one's own usual intervals",
    BG_NBD: "contact whom BG/NBD, a model of repeated purchases, expects to stay away; its four numbers per category have to come from "
    "somewhere: here from everybody's history",
}
#: Why nothing is said.
LACKS: Final[Mapping[str, str]] = {
    "no_contacts": "no device raised a warning of a fall",
    "few_contacts": f"fewer than {LEAST_CONTACTS} warnings were raised",
    "no_turns": "nobody was about to leave",
    "few_turns": f"fewer than {LEAST_TURNS} times was somebody about to leave a category",
    "few_users": f"fewer than {LEAST_USERS} people were about to leave anything",
    "no_rule": "there is no rule to compare with",
    "wide": "any difference between ours and a rule could be chance",
}


class AnswerWords(NamedTuple):
    """What stands first: what to do, the sentences that say why, what they rest on, and the next step."""

    verdict: str
    sentences: list[str]
    limits: str
    next_step: str


def answer_in_words(results: Results, run: str = "RUN") -> AnswerWords:
    """The answer of the run in a folder `run`, for people who read nothing else."""
    answer, step = results.answer, results.step
    sentences = [_ours(answer), *_found(answer.ours, step), *_rule(answer), *_price(answer.price)]
    return AnswerWords(
        _verdict(answer, results), sentences, _limits(answer, results), _next(answer, run, results.looked_at)
    )


def paragraph(results: Results) -> str:
    """The same as one piece of text."""
    said = answer_in_words(results)
    return " ".join([said.verdict, *said.sentences, said.limits])


def _verdict(answer: Answer, results: Results) -> str:
    name = f"“{answer.rule}”" if answer.rule else "a simple rule"
    if answer.verdict == "use_it":
        return f"Use it: at the same number of contacts it beats every simple rule; the best of them here is {name}."
    if answer.verdict == "use_rule":
        window = results.protocol.window_steps
        spans = {"window": duration(window, results.step), "two_windows": duration(2 * window, results.step)}
        how = RULES.get(answer.rule or "", "it looks at one's own counters").format(**spans)
        return f"Use the rule on the device, no training needed: {name} ({how}) does better at the same number of contacts."
    if answer.verdict == "cannot_tell":
        return f"Cannot tell: the difference to {name} may be chance. The rule is free: start with it."
    if _is_silent(answer):
        return "Not to be used as it stands: no device warned of a fall, though enough people left. Another line is needed."
    return f"Not enough data to say: {LACKS[answer.lack or 'wide']}."


def _is_silent(answer: Answer) -> bool:
    """Whether nobody was warned although enough people left: then it is another line that is missing, not data."""
    return answer.lack == "no_contacts" and answer.ours.turns >= LEAST_TURNS and answer.weeks > 0


def _ours(answer: Answer) -> str:
    ours = answer.ours
    over = f"in {compact(answer.weeks)} week{'s' if answer.weeks != 1 else ''}"
    if not ours.contacts:
        return f"The devices warned of no fall {over}."
    here = f"{_number(ours.contacts)} time{'s' if ours.contacts != 1 else ''}"
    found = f"{_share(ours.precision)} of these warnings were right" if ours.precision else "none could be judged"
    rate = f"{_count(ours.contacts_a_week.value)} times a week (here: {here} {over})"
    return f"Among {grouped(PEOPLE)} people the devices warn {rate}; {found}."


def _found(ours: ContactsWorth, step: str) -> list[str]:
    if not ours.turns:
        return ["Nobody was about to leave a category, so there was nothing to find."]
    cases = "time somebody was" if ours.turns == 1 else "times that somebody was"
    if not ours.found or ours.recall is None:
        return [f"Of the {_number(ours.turns)} {cases} about to leave a category it found none."]
    when = ""
    if ours.median_lead_steps is not None:
        when = f", half of them {duration(ours.median_lead_steps, step)} or more before the lapse was a fact"
    elif ours.median_delay_steps is not None:
        when = f", half of them within {duration(ours.median_delay_steps, step)} of its beginning"
    return [f"Of the {_number(ours.turns)} {cases} about to leave a category it found {_share(ours.recall)}{when}."]


def _rule(answer: Answer) -> list[str]:
    if (rival := answer.rival()) is None or rival.precision is None:
        return []
    ahead, ours = rival.ahead.right_a_week, answer.ours.right_a_week.value
    also = f" and found {percent(rival.recall.value)}" if rival.recall else ""
    more = "more" if ahead.value >= 0 else "fewer"
    low, high = (_signed(end) for end in (ahead.low, ahead.high))
    return [
        f"With as many contacts the rule “{rival.name}” was right in {percent(rival.precision.value)}{also}: "
        f"{_count(abs(ahead.value))} right warnings {more} a week than our {_count(ours)} (95 % interval {low} to {high})."
    ]


def _price(price: Price) -> list[str]:
    promise = "There is no promise of privacy: no noise was added, or next to none"
    if price.epsilon_to_public is not None:
        promise = f"Privacy: epsilon {compact(price.epsilon_to_public)} to whoever sees the models"
    lost = price.auc_lost_to_pooled
    right = "AUC (how often two interests are put in the right order)"
    apart = (
        ""
        if lost is None
        else f"; learning apart and in private {_lost(lost)} of {right} beside a model that sees all data"
    )
    down, up = (in_bytes(n) for n in (price.down_bytes_per_device, price.up_bytes_per_device))
    cpu = "" if price.cpu_s_per_device is None else f" and {compact(price.cpu_s_per_device)} s of processor time"
    return [f"{promise}{apart}.", f"A device pays {down} down and {up} up in all{cpu}."]


def _lost(lost: float) -> str:
    return f"cost {decimal(lost)}" if lost >= 0 else f"gained {decimal(-lost)}"


def _limits(answer: Answer, results: Results) -> str:
    made_up = " All of it is of made-up people." if results.simulated else ""
    if results.looked_at < results.devices:
        made_up = (
            f" It looks at {_number(results.looked_at)} of {_number(results.devices)} users, drawn at random.{made_up}"
        )
    if not answer.ours.turns and not answer.ours.contacts:
        return made_up.strip()
    if answer.trainings == 1:
        return f"The intervals are over people alone: other noise in training would move our numbers further.{made_up}"
    return f"The intervals are over people and {_number(answer.trainings)} trainings.{made_up}"


def _next(answer: Answer, run: str, n_people: int) -> str:
    """The command that goes on from here."""
    if _is_silent(answer):
        a_week = max(1, round(1000 * answer.ours.turns / answer.weeks / n_people))
        return f"ebbtide decide {run} --contacts-per-week {a_week}"
    if answer.lack in ("no_contacts", "no_turns", "few_turns", "few_users"):
        return "more people, or a longer time: nothing can be decided on these"
    a_week = max(1, round(answer.ours.contacts_a_week.value))  # per 1,000 people, as the command counts
    return f"ebbtide decide {run} --contacts-per-week {a_week}"


def rule_row(row: ContactsWorth, step: str) -> list[tuple[str, str]]:
    """What a list of contacts came to, as (column, value): empty where there is nothing to say."""
    lead = row.median_lead_steps if row.median_lead_steps is not None else row.median_delay_steps
    more = ""
    if isinstance(row, RuleWorth):
        ahead = row.ahead.right_a_week
        more = f"{_signed(ahead.value)} ({_signed(ahead.low)} to {_signed(ahead.high)})"
    return [
        ("contacts a week", _count(row.contacts_a_week.value)),
        (
            "right a week",
            f"{_count(row.right_a_week.value)} ({_count(row.right_a_week.low)} to {_count(row.right_a_week.high)})",
        ),
        ("of those leaving, found", percent(row.recall.value) if row.recall else "nobody left"),
        ("lead" if row.median_lead_steps is not None else "delay", "" if lead is None else duration(lead, step)),
        ("right a week, beside ours", more),
    ]


def _share(share: Range | None) -> str:
    """A share with its interval: 19 % (12 to 27)."""
    if share is None:
        return "none"
    low, high = (percent(end).removesuffix("%").strip() for end in (share.low, share.high))
    return f"{percent(share.value)} (95 % interval {low} to {high})"


def _count(value: float) -> str:
    """A rate of contacts, with two digits at least where it is small: 46, 8.9, 0.4."""
    return grouped(value) if value >= 20 else f"{value:.1f}".removesuffix(".0")


def _signed(value: float) -> str:
    text = _count(abs(value))
    return text if text == "0" else f"{'+' if value > 0 else '−'}{text}"


def _number(value: float) -> str:
    return grouped(value)
