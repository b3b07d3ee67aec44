"""An audit for people: one line; or a table, one row a bound, with what it would have found."""

from __future__ import annotations

from rich.table import Table

from .audit import NOT_PRIVATE, Audit


def table_of(audit: Audit) -> Table:
    """What is stated, what was found, and how often a mistake would have been."""
    table = Table(title=f"what was released, against what is stated, at {audit.confidence:.1%} confidence")
    for column in (
        "what is seen",
        "stated",
        "at least",
        "a perfect attacker shows",
        "finds a quarter of the noise",
        "finds a device counted twice",
    ):
        table.add_column(column, justify="left" if column == "what is seen" else "right")
    for one in audit.mechanism:
        power = audit.power.get(one.key)
        said = (f"{power.perfect:.3g}", f"{power.finds_quarter:.0%}", f"{power.finds_twice:.0%}") if power else ()
        table.add_row(
            f"{one.key}: {one.sees}, {one.trials:,} trials", f"{one.stated:.3g}", f"{one.at_least:.3g}", *said
        )
    if (found := audit.canaries) is not None:
        finds = "" if audit.canaries_find_quarter is None else f"{audit.canaries_find_quarter:.0%}"
        sees = f"canaries in this run, {found.rounds * found.guesses:,} guesses"
        table.add_row(sees, f"{found.stated:.3g}", f"{found.at_least:.3g}", "", finds)
    if (noise := audit.noise) is not None:
        sees = f"noise of this run: planned {noise.planned:.3g}, {noise.at_most:.3g} at most"
        table.add_row(sees, f"{noise.stated:.3g}", f"{noise.at_least:.3g}")
    for what, why in audit.why.items():
        table.add_row(f"{what}: {why}")
    return table


def in_a_line(audit: Audit) -> str:
    """Whether what is stated was kept, with the first bound and its power."""
    if audit.breaches:
        return f"broken: {'; '.join(audit.breaches)}"
    if not audit.mechanism:
        return NOT_PRIVATE
    first = audit.mechanism[0]
    shown = f"of {first.sees} epsilon {first.at_least:.2g} at least is shown, {first.stated:.3g} is stated"
    finds = f"noise four times too small would be found in {audit.power[first.key].finds_quarter:.0%} of audits"
    return f"nothing that is stated is broken; {shown}; {finds}"
