"""Three devices and three helpers as real SuperNodes, over TLS, each under a key of its own: they come to the sums of a run."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.device import Device
from client.model.runtime import MODEL_FILE
from client.vault.consent import Consent
from client.vault.keys import FileKeys
from server.helper.answers import Helper
from server.signing import public_bytes, signing_key
from server.state import ServerFolder
from shared.clock import WallClock
from shared.events import Step
from shared.files import replace_content
from shared.plan import SumPlan
from shared.secure_sum.epoch import Epoch, read_list, sign
from shared.secure_sum.leaves import leaf_of
from simulations.federation.flower_runtime import MARKER, write_app_folder
from tests.world.basics import N_CATEGORIES, SOAK, make_plan, make_profile
from tests.world.deployment import deployed

DEVICES, HELPERS, ROUNDS, AUDIENCE = 3, 3, 2, "the tests' deployment"
DAY_S = Step.DAY.seconds
PASSPHRASE = b"a phrase of the tests"


def signed_when_listed(
    folder: ServerFolder, helpers: list[Helper], offline: Ed25519PrivateKey, over: threading.Event
) -> None:
    """Sign the server's list once it is there, with a key that the server does not have."""
    while not (over.is_set() or folder.enrolment_list.exists()):
        time.sleep(0.1)
    if over.is_set():
        return
    listed, now_s = read_list(folder.enrolment_list), int(time.time())
    leaves = [
        leaf_of(public_bytes(one.identity), one.store.seat_key(listed.number).public_key().public_bytes_raw())
        for one in helpers
    ]
    window = now_s - DAY_S, now_s + DAY_S
    epoch = Epoch.close(listed.audience, listed.number, *window, listed.leaves, leaves, ROUNDS)
    replace_content(folder.signed_epoch, sign(epoch, offline), durable=True)


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.skipif(not SOAK, reason="a deployment of seven processes: EBBTIDE_SOAK=1")
@pytest.mark.timeout(600)
def test_three_supernodes_and_three_helpers_come_to_a_sum_over_tls(tmp_path: Path):
    offline, clock = Ed25519PrivateKey.generate(), WallClock()
    server, key_file = ServerFolder(tmp_path / "server"), tmp_path / "server.pem"
    server_key, enrolment_key = public_bytes(signing_key(key_file)), public_bytes(offline)
    origin_s = float(int(time.time()) // DAY_S * DAY_S - 30 * DAY_S)
    profile = replace(make_profile(Consent.IDENTIFIED), number=-1, origin_s=origin_s, server_key=server_key)
    profile = replace(profile, audience=AUDIENCE, enrolment_key=enrolment_key)
    privacy = {"population": DEVICES, "min_survivors": DEVICES, "rounds": ROUNDS, "noise_multiplier": 6.0}
    plan = make_plan(privacy=privacy, sum=SumPlan(HELPERS))
    (tmp_path / "passphrase").write_bytes(PASSPHRASE)
    for number in range(DEVICES):
        home = tmp_path / f"device-{number}" / "data"
        with Device.open(home, profile, keys=FileKeys(home, PASSPHRASE)) as device:
            device.close_until(29)
    helper_homes = [tmp_path / f"helper-{number}" / "data" for number in range(HELPERS)]
    helpers = [Helper.open(home, server_key, enrolment_key, AUDIENCE, clock) for home in helper_homes]
    config = {
        "plan": plan.canonical.hex(),
        "server.learning-rate": 1.0,
        "server.momentum": 0.0,
        "server.tail": 0.5,
        "server.theta-seed": 0,
        "server.theta-file": "",
        "server.risk-learning-rate": 1.0,
        "server.public-rows": "",
        "server.folder": str(server.folder),
        "server.model-file": str(MODEL_FILE),
        "server.key-file": str(key_file),
        "server.categories": N_CATEGORIES,
        "server.node-wait-s": 120.0,
        "server.longest-mean": 1.0,
        "server.risk-longest-mean": 1.0,
        "server.crowd-longest-mean": 1.0,
        "server.curvature-longest-mean": 1.0,
        "server.head-longest-mean": 1.0,
        "server.audience": AUDIENCE,
        "server.helpers": ",".join(public_bytes(one.identity).hex() for one in helpers),
        "server.epoch-wait-s": 60.0,
        "server.round-open-s": 60.0,
        "schedule.train-step": 29,
        "schedule.first-query-step": 29,
        "schedule.last-query-step": 29,
        "schedule.query-every-steps": 1,
        "schedule.seconds-per-step": float(DAY_S),
        "schedule.origin-s": origin_s,
        "schedule.replay-step-s": float(DAY_S),
    }
    app = write_app_folder(tmp_path / "app", serverapp="server.app:app", clientapp="client.app:app", config=config)
    over = threading.Event()
    signer = threading.Thread(target=signed_when_listed, args=(server, helpers, offline, over))
    signer.start()
    nodes = tmp_path / "flower"
    nodes.mkdir()
    try:
        with deployed(nodes) as deployment:
            for number in range(DEVICES):
                home = tmp_path / f"device-{number}" / "data"
                told = {"data-dir": str(home), "passphrase-file": str(tmp_path / "passphrase")}
                deployment.start_supernode(f"device-{number}", told)
            for number, home in enumerate(helper_homes):
                keys = {"server-key": server_key.hex(), "enrolment-key": enrolment_key.hex()}
                told = {"clientapp": "server.helper.app:app", "data-dir": str(home), "audience": AUDIENCE, **keys}
                deployment.start_supernode(f"helper-{number}", told)
            said = deployment.flwr("run", str(app), "tests", "--stream", timeout_s=400)
            assert deployment.outcome() == "finished:completed", said
    finally:
        over.set()
        signer.join()
    assert not [one for one in psutil.process_iter() if str(nodes.resolve()) in marker_of(one)]
    account, traffic = json.loads(server.account_file.read_text()), server.traffic()
    assert account["rounds_charged"] == ROUNDS and account["stopped"] is None
    assert traffic["received"]["update"] == ROUNDS * DEVICES
    assert traffic["received"]["opinion"] == traffic["received"]["seat_sum"] == ROUNDS * HELPERS
    assert not {why: n for why, n in traffic["dropped"].items() if n}
    models = server.models()
    assert len(models) == ROUNDS + 1 and (models[1:] != models[:-1]).any(axis=1).all() and np.isfinite(models).all()


def marker_of(process: psutil.Process) -> str:
    try:
        return process.environ().get(MARKER, "")
    except (psutil.Error, OSError):
        return ""
