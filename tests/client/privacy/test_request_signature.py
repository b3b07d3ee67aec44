"""Signed requests: what a server signs a device accepts, once per broadcast; time and key are part of it."""

import hashlib
import stat
import threading
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from client.answers import open_and_answer
from client.device import Device
from client.privacy.caps import Caps
from client.privacy.ledger import LIFETIME, PERIOD, UNSET
from client.privacy.request_signature import verify
from client.profile import Profile
from client.vault.vault import Limits
from server.channel import Channel, Traffic
from server.signing import Signer, public_bytes, signing_key
from shared.clock import ReplayClock
from shared.codec import decode, encode, limits_of, pack_floats
from shared.envelope import TAG, Envelope, signed_bytes, unwrap, wrap
from shared.errors import ConfigError, InputError, Refusal, RefusalCode, WireError
from shared.events import Step
from shared.messages import REGISTER, REQUESTS, SIGNED
from shared.register.bounds import MAX_REQUEST_BYTES, MAX_TIME_S
from simulations.federation.device_app import calendar_of
from tests.world.basics import (
    CATALOGUE,
    N_CATEGORIES,
    activity_theta,
    cheap_keys,
    make_plan,
    make_profile,
    open_device,
    ready,
)
from tests.world.fake_grid import SIGNER, FakeGrid, context_of, device_node, says
from tests.world.signing import OTHER_PRIVATE_KEY, PRIVATE_KEY, SERVER_KEY, body_of, signed, signed_request
from tests.world.work import work_of

QUERY = body_of("alerts_query", {"step": 3})


# ---- the envelope


@given(st.binary(min_size=1, max_size=300), st.integers(0, MAX_TIME_S))
def test_what_the_server_signs_the_device_accepts_with_its_time(body, time_s):
    data = Signer(PRIVATE_KEY, ReplayClock(time_s)).sign(body)
    assert verify(data, SERVER_KEY) == unwrap(data) == Envelope(body, time_s, decode(SIGNED, data)[1]["signature"])
    with pytest.raises(Refusal) as refused:
        verify(data, public_bytes(OTHER_PRIVATE_KEY))
    assert refused.value.code is RefusalCode.SIGNATURE


def test_the_layout_that_is_signed_is_tag_time_and_body():
    """A port to another language needs exactly this; a body cannot be taken for another time and body."""
    assert signed_bytes(b"\x01body", 258) == b"ebbtide request v1\n" + b"\0\0\0\0\0\0\x01\x02" + b"\x01body"
    assert TAG == b"ebbtide request v1\n"
    assert unwrap(signed(QUERY)).signature.hex() == (  # Ed25519 is deterministic
        "010482749151de6ed86d47c532cf5bfa6ada767e5af51f42f7790387ab14914b"
        "14f693391194422a78a37493f8e5876ec0b7c4baa9ad5a66cbc6401471509b0f"
    )


@pytest.mark.parametrize("time_s", [-1, MAX_TIME_S + 1, 1 << 64])
def test_a_time_that_no_clock_shows_is_not_signed(time_s):
    with pytest.raises(WireError):
        wrap(QUERY, time_s, PRIVATE_KEY.sign)


def test_the_largest_offer_fits_into_an_envelope_and_nothing_larger_does():
    for name, kind in REQUESTS.items():
        largest = sum(getattr(field.type, "high", 0) for field in kind.fields.values() if hasattr(field.type, "unit"))
        assert largest + 1024 <= MAX_REQUEST_BYTES, name
    data = signed(bytes(MAX_REQUEST_BYTES))
    assert len(data) <= limits_of(SIGNED["signed"]).most_bytes and len(unwrap(data).body) == MAX_REQUEST_BYTES
    with pytest.raises(WireError):
        signed(bytes(MAX_REQUEST_BYTES + 1))


STRANGE = {
    "two million lists": b"\x9a\x00\x1e\x84\x80" + b"\x80" * 2_000_000,
    "one in the other": b"\x81" * 2_000_000,
    "a long number": b"\xc2\x5a\x00\x1e\x84\x80" + b"\xff" * 2_000_000,
    "the same as a body": b"\x83\x66signed\x01\xa3\x64body\x9a\x00\x1e\x84\x80" + b"\x80" * 2_000_000,
    "the same behind a body": b"\x83\x66signed\x01\xa3\x64body\x41\x00\x9a\x00\x1e\x84\x80" + b"\x80" * 2_000_000,
    "a length beyond the end": b"\x83\x66signed\x01\xa3\x64body\x5a\xff\xff\xff\xff" + bytes(200),
    "a head alone": b"\x83\x66signed\x01\xa3\x64body",
    "a head and half a length": b"\x83\x66signed\x01\xa3\x64body\x5a\x00",
}


@pytest.mark.parametrize("what", STRANGE)
def test_what_a_stranger_sends_is_refused_before_it_is_read(what):
    """Reading two million lists would take a second and 140 MB."""

    def read(data):
        with pytest.raises(WireError):
            unwrap(data)

    done = work_of(read, STRANGE[what])
    assert done.calls < 500 and done.n_bytes < 200
    with pytest.raises(Refusal) as refused:
        verify(STRANGE[what], SERVER_KEY)
    assert refused.value.code is RefusalCode.SIGNATURE


@pytest.mark.parametrize("size", [1, 23, 24, 255, 256, 65_535, 65_536, MAX_REQUEST_BYTES])
def test_a_body_of_any_length_comes_out_again(size):
    assert unwrap(signed(bytes(size))).body == bytes(size)
    for time_s in (0, MAX_TIME_S):
        assert unwrap(signed(bytes(size), time_s)).time_s == time_s


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(33), "00" * 32, None])
def test_a_new_device_needs_a_server_s_key(tmp_path, key):
    with pytest.raises(InputError, match="server_key"):
        Profile(Step.DAY, N_CATEGORIES, CATALOGUE.sha256, key)
    with pytest.raises(TypeError):
        Profile(Step.DAY, N_CATEGORIES, CATALOGUE.sha256)


def test_the_key_is_pinned_for_the_device_s_life(tmp_path):
    open_device(tmp_path, make_profile()).close()
    other = replace(make_profile(), server_key=public_bytes(OTHER_PRIVATE_KEY))
    with pytest.raises(InputError, match="server_key"):
        open_device(tmp_path, other)
    with open_device(tmp_path) as device:
        assert device.profile.server_key == SERVER_KEY


# ---- the server's key


def test_a_key_is_made_once_for_its_owner_only_and_found_again(tmp_path):
    file = tmp_path / "server" / "signing.pem"
    key = signing_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert public_bytes(signing_key(file)) == public_bytes(key) and len(public_bytes(key)) == 32
    assert [f.name for f in file.parent.iterdir()] == ["signing.pem"]
    assert public_bytes(signing_key(tmp_path / "other.pem")) != public_bytes(key)


def test_two_that_make_a_key_at_once_have_one_key(tmp_path):
    found, together = [], threading.Barrier(8)

    def make() -> None:
        together.wait()
        found.append(public_bytes(signing_key(tmp_path / "signing.pem")))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_key_that_others_may_read_or_that_is_none_is_refused(tmp_path):
    file = tmp_path / "signing.pem"
    signing_key(file)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="owner only"):
        signing_key(file)
    x25519 = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for content in (b"", b"canary", x25519):
        file.write_bytes(content)
        file.chmod(0o600)
        with pytest.raises(ConfigError, match="Ed25519") as refused:
            signing_key(file)
        assert "canary" not in str(refused.value)


# ---- asking


def test_one_broadcast_is_signed_once_and_carries_the_server_s_clock():
    class Counting:
        signatures = 0

        def sign(self, data: bytes) -> bytes:
            self.signatures += 1
            return PRIVATE_KEY.sign(data)

    key, clock = Counting(), ReplayClock(5.5)
    grid = FakeGrid(dict.fromkeys(range(1, 9), says(encode(REGISTER, "alerts", {"step": 3, "alerts": []}))))
    channel = Channel(grid, Traffic(), Signer(key, clock))
    assert len(channel.ask(grid.nodes, "alerts_query", {"audience": "", "step": 3})) == 8
    assert key.signatures == 1 and len({data for _, _, data in grid.asked}) == 1
    data = grid.asked[0][2]
    assert verify(data, SERVER_KEY).time_s == 5 and unwrap(data).body == QUERY
    assert channel.traffic.sent_bytes["alerts_query"] == 8 * len(data)
    clock.wait_until(86_400.0)
    channel.ask([1], "alerts_query", {"audience": "", "step": 3})
    assert verify(grid.asked[-1][2], SERVER_KEY).time_s == 86_400


def test_the_right_server_gets_answers_and_another_one_only_its_code(tmp_path):
    with open_device(tmp_path, make_profile()) as device:
        for key, dropped in ((PRIVATE_KEY, {}), (OTHER_PRIVATE_KEY, {f"refusal_{int(RefusalCode.SIGNATURE)}": 1})):
            channel = Channel(FakeGrid({1: device_node(1, device)}), Traffic(), Signer(key, ReplayClock()))
            replies = channel.ask([1], "alerts_query", {"audience": "", "step": 3})
            assert bool(replies) is not bool(dropped) and channel.traffic.dropped == dropped


# ---- asked again, and the ledger's period

PLAN = make_plan(privacy={"noise_multiplier": 4.0, "population": 64, "min_survivors": 32})
TRAIN = {"step": 3, "round": 1, "plan_sha256": PLAN.sha256, "theta": pack_floats(activity_theta())}


class Opened:
    """Opens a device anew for each request, with its clock."""

    def __init__(self, folder, clock: ReplayClock, **arguments) -> None:
        self.folder, self.clock, self.arguments = folder, clock, arguments

    def __call__(self, context=None, data: bytes = b"") -> Device:
        return open_device(self.folder, caps=Caps(), clock=self.clock, **self.arguments)


@pytest.fixture
def opened(tmp_path) -> Opened:
    open_device(tmp_path, make_profile(), caps=Caps()).close()
    opened = Opened(tmp_path, ReplayClock(1e9))
    ready(opened(), PLAN).close()
    return opened


def ask(opened: Opened, data: bytes) -> bytes:
    return open_and_answer(data, "train_request", lambda: opened(context_of(1), data))


def test_a_retry_at_another_time_is_the_same_request_and_gets_the_same_bytes(opened):
    first = ask(opened, signed_request("train_request", TRAIN, 1_000_000_000))
    assert decode(REGISTER, first)[0] == "update"
    for time_s in (999_990_000, 1_000_000_060, 0):
        assert ask(opened, signed_request("train_request", TRAIN, time_s)) == first
    with opened() as device:
        assert device.gate.ledger.releases["update"] == 1 and len(device.what_left()) == 1
        body = body_of("train_request", TRAIN)
        assert device._vault.outbox.find(hashlib.sha256(body).digest()) == ("update", first)


def test_a_replay_that_the_outbox_no_longer_holds_is_refused(opened):
    opened.arguments["limits"] = Limits(outbox_entries=1)
    old, new = (signed_request("train_request", {**TRAIN, "round": n}, 1_000_000_000) for n in (1, 2))
    replies = [ask(opened, data) for data in (old, new, old, new)]
    assert decode(REGISTER, replies[2]) == ("refusal", {"code": int(RefusalCode.STALE)}) and replies[3] == replies[1]
    with opened() as device:
        assert device.gate.ledger.releases["update"] == 2


def test_a_period_ends_by_a_signed_request_when_the_device_s_clock_agrees(opened):
    period_s = Caps().period_s
    ask(opened, signed_request("train_request", TRAIN, 1_000_000_000))
    ahead = signed(QUERY, 1_000_000_000 + period_s + 100)

    def spent() -> float:
        with opened() as device:
            return device.gate.ledger.epsilon(PERIOD)

    assert spent() > 0
    open_and_answer(ahead, "alerts_query", lambda: opened(context_of(1), ahead))
    assert spent() > 0, "the server alone ends no period"
    opened.clock.wait_until(1e9 + period_s + 50)
    open_and_answer(
        signed(QUERY, 1_000_000_000), "alerts_query", lambda: opened(context_of(1), signed(QUERY, 1_000_000_000))
    )
    assert spent() > 0, "nor does the device's own clock, nor an old request"
    forged = encode(SIGNED, "signed", {**decode(SIGNED, ahead)[1], "time_s": 1_000_000_000 + period_s + 60})
    open_and_answer(forged, "alerts_query", lambda: opened(context_of(1), forged))
    assert spent() > 0, "nor a time that nobody signed"
    open_and_answer(ahead, "alerts_query", lambda: opened(context_of(1), ahead))
    assert spent() == 0
    with opened() as device:
        assert device.gate.ledger.epsilon(LIFETIME) > 0


def test_a_paused_device_does_not_look_at_the_time_either(opened):
    with opened() as device:
        device.pause()
    open_and_answer(
        signed(QUERY, 1_000_000_000), "alerts_query", lambda: opened(context_of(1), signed(QUERY, 1_000_000_000))
    )
    with opened() as device:
        assert device.gate.ledger.spent.period_start_s == UNSET


# ---- the world around a simulated device


def test_a_simulated_world_reads_the_calendar_and_no_signature():
    assert calendar_of(signed(QUERY, 77, OTHER_PRIVATE_KEY)) == (3, 77.0)
    assert calendar_of(signed(body_of("enrolment_query", {}), 77)) == (None, 77.0), "it has no step"
    for data in (b"", QUERY, signed(b"canary"), signed(encode(REGISTER, "deletion", {}))):
        assert calendar_of(data) == (None, 0.0)


def test_a_device_that_does_not_open_says_nothing_about_who_asks(tmp_path):
    def broken(context, data):
        return Device.open(tmp_path, keys=cheap_keys(tmp_path))

    for data in (signed(QUERY), QUERY, b""):
        out = open_and_answer(data, "alerts_query", lambda data=data: broken(context_of(1), data))
        assert decode(REGISTER, out) == ("refusal", {"code": int(RefusalCode.INTERNAL)})


def test_the_tests_signer_is_the_server_s(tmp_path):
    assert public_bytes(PRIVATE_KEY) == SERVER_KEY and isinstance(PRIVATE_KEY, Ed25519PrivateKey)
    assert SIGNER.sign(QUERY) == signed(QUERY)
