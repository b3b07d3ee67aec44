"""The vectors of version 1 hold: read from their files, by what devices, seats and servers run; and made again, byte for byte."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from shared.errors import ConfigError
from shared.secure_sum.correction import opened
from shared.secure_sum.draw import drawn, kept
from shared.secure_sum.duty import Duty
from shared.secure_sum.entry import Entry, SumList
from shared.secure_sum.epoch import Epoch, unverified
from shared.secure_sum.header import Header
from shared.secure_sum.seat import expect_answer, read_boxes
from shared.secure_sum.share import box_bytes, contribute
from tests.vectors.make_secure_sum import FOLDER, GOOD, made

from .cases import REFUSED
from .parts import Register, refusal_of

#: Those of enrolment are tried in test_epoch.py.
FILES = {
    file.stem: json.loads(file.read_text(encoding="utf-8"))
    for file in sorted(FOLDER.glob("*.json"))
    if file.stem != "enrolment"
}
WRITTEN_OUT = [name for name, content in FILES.items() if "sent" in content]


def test_they_are_all_there_of_one_version_and_small():
    assert set(FILES) == {*GOOD, "refused", "draws"} and {content["version"] for content in FILES.values()} == {1}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 300_000
    assert set(FILES["refused"]["cases"]) == set(REFUSED)


def test_made_again_they_are_the_same():
    again = made()
    assert {name for name, text in again.items() if (FOLDER / name).read_text(encoding="utf-8") != text} == set()


def epoch_in(content) -> Epoch:
    return unverified(bytes.fromhex(content["epoch"]))


def keys_in(content):
    identity = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["identity"]))
    seat = X25519PrivateKey.from_private_bytes(bytes.fromhex(content["seat"]))
    return b"".join(key.public_key().public_bytes_raw() for key in (identity, seat)), identity, seat


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("refused", "draws")])
def test_headers_and_epochs_have_the_hashes_that_are_written_down(name):
    content = FILES[name]
    header = Header.from_bytes(bytes.fromhex(content["header"]))
    assert header.sha256.hex() == content["header_sha256"] and epoch_in(content).sha256.hex() == content["epoch_sha256"]
    assert header.epoch_sha256.hex() == content["epoch_sha256"]


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_a_device_sends_what_is_written_down(name):
    content = FILES[name]
    header = Header.from_bytes(bytes.fromhex(content["header"]))
    for one in content["sent"]:
        leaf, identity, _ = keys_in(one)
        drawn_bytes = iter(bytes.fromhex(part) for part in one["entropy"])
        said = contribute(header, leaf, identity, np.array(one["values"]), lambda n, left=drawn_bytes: next(left))
        assert {field: value.hex() for field, value in vars(said).items()} == {
            field: one[field] for field in vars(said)
        }


@pytest.mark.parametrize("name", WRITTEN_OUT)
def test_seats_say_and_answer_what_is_written_down_and_it_opens(name):
    content = FILES[name]
    header, epoch = Header.from_bytes(bytes.fromhex(content["header"])), epoch_in(content)
    sealed = [bytes.fromhex(one["sealed"]) for one in content["sent"]]
    entries = [
        Entry(one["index"], keys_in(one)[0], bytes.fromhex(one["ephemeral"]), sha256(boxes).digest(),
              bytes.fromhex(one["signature"]))
        for one, boxes in zip(content["sent"], sealed, strict=True)
    ]  # fmt: skip
    listed = SumList.of(header, entries)
    assert listed.sha256.hex() == content["list_sha256"]
    answers = []
    for place, one in enumerate(content["answers"]):
        request = {
            "header": header.canonical,
            "entries": listed.canonical,
            "proof": bytes.fromhex(content["proof"]),
            "boxes": read_boxes(sealed, box_bytes(header), place - header.t_priv)
            if header.t_priv <= place < len(header.seats)
            else b"",
        }
        duty = Duty(epoch, *keys_in(one), Register())
        said, answer = duty.opinion(request), duty.answer(request)
        assert said["refused"] == b"" and said["tests"].hex() == one["tests"]
        assert (answer.values.hex(), answer.signature.hex()) == (one["values"], one["signature"])
        expect_answer(listed, place, answer.values, answer.signature)
        answers.append(answer.values)
    field, n_seats = header.code.field, len(header.seats)
    n_blocks = header.code.n_blocks(header.n_values)
    sums = np.stack([field.unpack(values, n_blocks) for values in answers[:n_seats]])
    total = opened(header.code, np.arange(n_seats), sums, header.n_values).values
    for pad in answers[n_seats:]:
        total = field.minus(total, field.unpack(pad, header.n_values))
    assert field.to_signed(total).tolist() == content["opened"] == np.sum(
        [one["values"] for one in content["sent"]], axis=0).tolist()  # fmt: skip


REFUSALS = FILES["refused"]


def asked_in(fields):
    return {key: bytes.fromhex(value) for key, value in fields.items()}


def duty_in(register):
    return Duty(epoch_in(REFUSALS), *keys_in(REFUSALS), register)


@pytest.mark.parametrize("name", REFUSALS["cases"])
def test_what_is_wrong_is_refused_by_the_name_that_is_written_down(name):
    case = REFUSALS["cases"][name]
    request = asked_in(REFUSALS["right"] | case["instead"])
    assert case["instead"] and refusal_of(lambda: duty_in(Register()).answer(request)) == case["refused"]


def test_what_is_right_is_answered_and_then_no_second_list():
    register = Register()
    answer = duty_in(register).answer(asked_in(REFUSALS["right"]))
    register.lists[answer.slot] = answer.list_sha256
    assert duty_in(register).answer(asked_in(REFUSALS["right"])) == answer
    assert refusal_of(lambda: duty_in(register).answer(asked_in(REFUSALS["second_list"]))) == "second_list"


def test_draws_are_those_that_are_written_down():
    content = FILES["draws"]
    epoch = epoch_in(content)
    for named, found in content["drawn"].items():
        kind, _, number = named.partition(" ")
        assert list(drawn(epoch, kind, int(number), len(found))) == found
    first = content["drawn"]["update 1"]
    for case in content["absent"].values():
        if case["kept"] is None:
            with pytest.raises(ConfigError):
                kept(first, case["absent"], content["seats"], epoch.n_devices)
        else:
            assert list(kept(first, case["absent"], content["seats"], epoch.n_devices)) == case["kept"]
    assert replace(epoch, seed=bytes(32)).sha256 != epoch.sha256
