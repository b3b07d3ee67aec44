"""How numbers are written for people, the same on the command line and in the report."""

from __future__ import annotations

#: A number that could not be computed (no alert, no turn, one class only).
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


def in_bytes(n: float) -> str:
    """Bytes in a unit that people read: 175 kB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{compact(n / size)} {unit}"
    return f"{grouped(n)} bytes"


def duration(steps: float | None, step: str) -> str:
    """A number of steps with its unit: 1 day, 11.5 days."""
    if steps is None:
        return NONE
    return f"{steps:g} {step}" if steps == 1 else f"{steps:g} {step}s"


def epsilon(value: float | None) -> str:
    """An epsilon; None stands for infinity, which JSON does not know: no noise, or so little that nothing is promised."""
    return "not private" if value is None else compact(value)
