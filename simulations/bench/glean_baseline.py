# mypy: ignore-errors
"""Mozilla's Glean recording one event at a time, for the bench. Runs in an environment of its own (.venv-glean), without us.

An event metric with three extras (kind, category, amount), recorded through the Python API as an application does. Glean
hands each event to a thread of its own and returns before it is on disk, where our `record` returns after. Nothing is
sent: the uploader of this process drops what it is given.

    python glean_baseline.py EVENTS REPEATS      prints one JSON map: microseconds of `record` by percentile, and of an event
                                             until it is stored, a list of each over the repeats
"""

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from glean import Configuration, Glean
from glean._uniffi import CommonMetricData, Lifetime
from glean.metrics.event import EventExtras, EventMetricType
from glean.net import BaseUploader
from glean.net.ping_uploader import UploadResult


class Nowhere(BaseUploader):
    """Uploads nothing."""

    def upload(self, request):
        return UploadResult.HTTP_STATUS(200)


class Extras(EventExtras):
    def to_ffi_extra(self):
        return {"kind": "purchase", "category": "3", "amount": "12.5"}


def main(events: int, repeats: int) -> dict[str, list[float]]:
    metric = EventMetricType(
        CommonMetricData(
            category="shop", name="behaviour", send_in_pings=["events"], lifetime=Lifetime.PING, disabled=False
        ),
        ["kind", "category", "amount"],
    )
    out = {"p50_us": [], "p99_us": [], "stored_us": []}
    with TemporaryDirectory() as folder:
        configuration = Configuration(
            server_endpoint="http://127.0.0.1:9",
            max_events=10 * events * repeats,
            ping_uploader=Nowhere(),
            allow_multiprocessing=False,
        )
        Glean.initialize("bench", "1", True, configuration=configuration, data_dir=Path(folder))
        metric.record(Extras())
        metric.test_get_value("events")
        for _ in range(repeats):
            seconds = []
            began_s = time.perf_counter()
            for _ in range(events):
                at_s = time.perf_counter()
                metric.record(Extras())
                seconds.append(time.perf_counter() - at_s)
            n_stored = len(metric.test_get_value("events"))
            out["stored_us"].append((time.perf_counter() - began_s) / events * 1e6)
            seconds.sort()
            out["p50_us"].append(seconds[events // 2] * 1e6)
            out["p99_us"].append(seconds[int(events * 0.99)] * 1e6)
        assert n_stored == events * repeats + 1, n_stored
        lines = sum(file.read_bytes().count(b"\n") for file in Path(folder).rglob("events/*") if file.is_file())
        assert lines >= n_stored, lines
        Glean.shutdown()
    return out


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
