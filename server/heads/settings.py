"""What the server of a run that learns heads is told of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError
from shared.heads import HeadsStart
from shared.plan import Plan

from ..optimizer import ServerSettings
from ..public.calibration import PublicTurns


@dataclass(frozen=True, eq=False)
class HeadsSettings:
    """Where heads start, and how far a round moves each: by its rate times a Newton step of the mean gradient. `damping`: the least
    curvature that a direction counts with, in mean eigenvalues. `tail`: the share of the latest rounds that are averaged.
    `public_lapses`: planted people by whom the head of lapses is calibrated; None: it stays as rounds leave it."""

    start: HeadsStart
    rates: tuple[float, float] = (0.3, 0.5)
    damping: float = 0.1
    tail: float = 0.5
    public_lapses: PublicTurns | None = None

    def __post_init__(self) -> None:
        if not (all(0 < rate <= 1000 for rate in self.rates) and 0 <= self.damping <= 1 and 0 <= self.tail <= 1):
            raise ConfigError(
                "expected rates of heads in (0, 1000], damping and tail in 0..1, "
                f"got {self.rates}, {self.damping}, {self.tail}"
            )

    @property
    def server(self) -> ServerSettings:
        """How a round moves the coefficients, by what is scaled already."""
        return ServerSettings(1.0, 0.0, self.tail)

    @classmethod
    def load(
        cls,
        file: Path,
        plan: Plan,
        rates: tuple[float, float],
        damping: float,
        tail: float,
        public: Path | None = None,
    ) -> HeadsSettings:
        """With the start in a file of `HeadsStart.to_bytes`, and the people in one of `PublicTurns.save`; ConfigError if the start is not
        the one that the plan names."""
        rows = PublicTurns.load(public) if public else None
        return cls(start_in(file, plan), rates, damping, tail, rows).checked(plan)

    def checked(self, plan: Plan) -> HeadsSettings:
        """These settings; ConfigError if they begin where the plan does not."""
        if plan.heads is None or self.start.sha256 != plan.heads.start_sha256:
            raise ConfigError("expected heads to start where the plan says, by its SHA-256, got another start")
        return self


def start_in(file: Path, plan: Plan) -> HeadsStart:
    """Where heads of a plan start, of a file of `HeadsStart.to_bytes`; ConfigError if there is none."""
    try:
        data = file.read_bytes()
    except OSError:
        raise ConfigError(f"expected where heads start in {file.name}, got no such file") from None
    return HeadsStart.from_bytes(data, plan.network)


def as_text(numbers: tuple[float, ...]) -> str:
    """Numbers of a flat configuration, with commas between them."""
    return ",".join(repr(float(number)) for number in numbers)


def pair(text: str) -> tuple[float, float]:
    """The two numbers of `as_text`; ConfigError for anything else."""
    try:
        first, second = (float(one) for one in text.split(","))
    except ValueError:
        raise ConfigError(f"expected two numbers with a comma between them, got {text[:40]!r}") from None
    return first, second
