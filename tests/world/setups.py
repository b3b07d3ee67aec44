"""A setup around a plan and a protocol that a test makes up."""

from __future__ import annotations

from dataclasses import replace

from shared.events import Catalogue
from shared.plan import Plan
from simulations.people.setup import Crowd, Setup
from simulations.scenarios.config import ProtocolSection, load_scenario


def setup_with(plan: Plan, protocol: ProtocolSection) -> Setup:
    """The demo under another plan, in another protocol; its people are a crowd."""
    crowd = Crowd(plan.privacy.population, Catalogue(("a", "b")))
    return replace(Setup.of(load_scenario("demo"), crowd, protocol), plan=plan)
