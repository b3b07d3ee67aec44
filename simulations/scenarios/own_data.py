"""What a scenario says of a log that its reader brought along: which column is what, and what is done with lines that are no
plain event."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .sections import Section

Preset = Literal["", "retailrocket", "rees46", "purchases", "online-retail-ii"]
Kind = Literal["view", "click", "favourite", "cart", "purchase", "ignore"]


class FileSection(Section):
    """Columns are named as in the file; "" leaves a column to the preset, and without one to what the file looks like. `events`
    maps the log's own names of events, in lower case, to ours; without an event column every line is of `kind`.

    `categories`: those of the category column ("column", all of them), of a mapping file from item to category ("file"), or
    the `top` most frequent ("top"); whatever is in none of them counts as "everything else". `top_epsilon` 0: the choice of the
    top ones is public, looked at and not counted; otherwise it is made behind noise of that epsilon, once, and the run's account
    counts it. `chosen` are then its names, which stay: nothing is drawn again.

    `most_events_per_day`: a user with more on one day is a bot, all of whose lines are dropped; 0 keeps everybody. `scores`
    names columns of numbers that the log's owner computed, to be compared with ours.

    `zone` names the clocks that days are counted on. Times with an offset, and numbers, are moved to it; those without one are
    taken to be on its clocks already, or (`without_offset` "UTC") on those of UTC.

    `first_day` is that of step 0, such as 2026-01-05; "" is that of the first event or, in whole weeks, up to six days later.
    """

    preset: Preset = ""
    user: str = ""
    time: str = ""
    event: str = ""
    category: str = ""
    item: str = ""
    amount: str = ""
    price: str = ""
    quantity: str = ""
    order: str = ""
    kind: Kind = "purchase"
    events: dict[str, Kind] = Field(default_factory=dict)
    scores: dict[str, str] = Field(default_factory=dict)
    step: Literal["auto", "day", "week"] = "auto"
    first_day: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    time_unit: Literal["auto", "text", "s", "ms", "us", "ns"] = "auto"
    date_order: Literal["auto", "ymd", "dmy", "mdy"] = "auto"
    zone: str = "UTC"
    without_offset: Literal["zone", "UTC"] = "zone"
    decimal: Literal["auto", ".", ","] = "auto"
    categories: Literal["auto", "column", "file", "top"] = "auto"
    category_file: str = ""
    top: Annotated[int, Field(ge=1, le=511)] = 30
    top_epsilon: Annotated[float, Field(ge=0, le=1000)] = 0.0
    chosen: Annotated[tuple[str, ...], Field(max_length=511)] = ()
    duplicates: Literal["drop", "keep"] = "drop"
    returns: Literal["drop", "keep"] = "drop"
    missing_category: Literal["everything else", "drop"] = "everything else"
    most_events_per_day: Annotated[int, Field(ge=0)] = 2000
