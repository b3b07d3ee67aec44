"""Low compute: what taking part costs a device in processor time, memory and bytes, of this run and as measured once."""

from __future__ import annotations

from client.model.costs import MOST, cost_of

from ..case import RESULTS, Case
from ..fields import Field, FieldTable
from ..grounds import figure, figures, of_code, quoted

#: Figures that were measured once: of a vault, a detector, an explanation, a device's part in a sum.
MEASURED_ONCE = ("vault.insert", "vault.release", "detector.", "explain.", "sum.device_ms", "sum.bytes_up", "sum.seat")


def compute_tables(case: Case) -> list[FieldTable]:
    """Of this run, per device: averages alone, of no device in particular."""
    own = "this run hosted many devices in one process: its processor time is not a device's (fidelity hosts)"
    costs = ("client/model/costs.py",)
    traffic = ("round_down_bytes", "round_up_bytes", "query_up_bytes", "down_bytes_per_device", "up_bytes_per_device")
    cost = cost_of(case.setup.plan, case.setup.n_categories)
    tested = ("tests/client/model/test_costs.py",)
    once = [number for number in figures() if number.startswith(MEASURED_ONCE)]
    fields: list[Field] = [
        quoted(case, "compute.cpu_ms_per_round", "/cpu/round_ms", name=RESULTS, why=own),
        quoted(case, "compute.cpu_s_per_device", "/cpu/s_per_device", name=RESULTS, why=own),
        *(
            quoted(case, f"compute.{name}", f"/traffic/{name}", why="no message of this kind was sent")
            for name in traffic
        ),
        quoted(case, "compute.parameters", "/plan/parameters", state="configured"),
        of_code("compute.row_steps_of_plan", float(cost.row_steps), *costs, tests=tested, state="configured"),
        of_code("compute.row_steps_at_most", float(MOST.row_steps), *costs, tests=tested, state="configured"),
        of_code("compute.memory_bytes_of_plan", float(cost.size_bytes), *costs, tests=tested, state="configured"),
        of_code("compute.memory_bytes_at_most", float(MOST.size_bytes), *costs, tests=tested, state="configured"),
        *(figure("compute.measured_once", number) for number in once or ["vault.insert_p50_us"]),
    ]
    return [FieldTable("low-compute", tuple(fields))]
