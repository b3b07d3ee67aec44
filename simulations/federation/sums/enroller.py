"""Who signs a simulated run's list of devices: a key that the run's server does not have, in another process than the server's.

It does what `ebbtide enrol sign` does, once the list is there. Whoever it lets in is in: it knows no people. A list is numbered by
the second, on the public calendar, at which it was begun, so that a later one gets a later window.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from server.sums.enrolling import is_of
from shared.errors import EbbtideError
from shared.files import replace_content
from shared.plan import Plan
from shared.secure_sum.epoch import Epoch, read_list, sign

from ..run_folder import RunFolder
from . import helper_nodes

#: An epoch begins so long before the step at which training runs, and lasts so long, in seconds.
_BEFORE_S, _LASTS_S = 86_400, 30 * 86_400
_POLL_S = 0.05


def sign_list(run: RunFolder, plan: Plan, now_s: float) -> None:
    """Make the signed epoch of a run's list, which is there."""
    listed = read_list(run.server.enrolment_list)
    n_helpers = plan.sum.helpers if plan.sum else 0
    begins_s = max(0, max(int(now_s), listed.number) - _BEFORE_S)
    epoch = Epoch.close(
        listed.audience,
        listed.number,
        begins_s,
        begins_s + _LASTS_S,
        listed.leaves,
        helper_nodes.leaves(run, n_helpers, listed.number),
        sum(kind.privacy.rounds for kind in plan.sums),
    )
    replace_content(run.server.signed_epoch, sign(epoch, run.enrolment_private_key()), durable=True)


@contextmanager
def enrolling(run: RunFolder, plan: Plan, now_s: float) -> Iterator[None]:
    """Sign the run's list as soon as it is there, while the body runs, and every other one that follows it; one that is signed stays
    as it is."""
    done = threading.Event()

    def wait() -> None:
        server, seen = run.server, None
        while not done.is_set():
            with suppress(EbbtideError, OSError):  # there is no list yet, or the server says what it waits for
                there = server.enrolment_list.stat()
                if seen != (written := (there.st_ino, there.st_mtime_ns, there.st_size)):
                    number = read_list(server.enrolment_list).number
                    if not (server.signed_epoch.exists() and is_of(server.signed_epoch, number)):
                        sign_list(run, plan, now_s)
                    seen = written  # to read it takes as long as hundreds of looks
            done.wait(_POLL_S)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
