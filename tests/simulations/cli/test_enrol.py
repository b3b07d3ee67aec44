"""`ebbtide enrol`: the offline key, an epoch from a list, and what is said of it; every mistake is one line."""

import re
import stat
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from shared.secure_sum.epoch import EnrolmentList, sign, verified, write_list
from simulations.cli import main as cli
from simulations.cli import offline_key
from tests.world.listed import AUDIENCE, DAY_S, OFFLINE_KEY, helpers, leaves, make_epoch


@pytest.fixture
def ebbtide(monkeypatch, tmp_path, capsys):
    """Run the command in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            cli.main(["enrol", *arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def made(ebbtide, tmp_path):
    """A folder with a key, a list, helpers' keys and a passphrase; gives the public key, in hex."""
    (tmp_path / "phrase").write_text("correct horse\n")
    write_list(tmp_path / "keys.list", EnrolmentList(AUDIENCE, 4, tuple(leaves(9))))
    write_list(tmp_path / "helpers.list", EnrolmentList(AUDIENCE, 4, tuple(helpers(3))))
    code, out, _ = ebbtide("key", "offline.pem")
    assert code == 0
    return re.search(r"public key: ([0-9a-f]{64})\n", out)[1]


SIGN = ("sign", "keys.list", "--key", "offline.pem", "--out", "epoch.cbor")


def test_a_list_becomes_an_epoch_that_devices_believe(ebbtide, made, tmp_path):
    before_s = time.time()
    code, out, _ = ebbtide(*SIGN, "--helpers", "helpers.list", "--days", "3")
    assert code == 0
    epoch = verified((tmp_path / "epoch.cbor").read_bytes(), bytes.fromhex(made), time.time(), AUDIENCE)
    assert (epoch.number, epoch.n_devices, list(epoch.helpers), epoch.draws) == (4, 9, helpers(3), 64)
    assert epoch.ends_s - epoch.begins_s == 3 * DAY_S and 0 <= before_s - epoch.begins_s < 3600 + 1
    for said in ("epoch 4 of audience 'north'", "devices", "9", epoch.sha256.hex(), "rounds 1 to 64", made, "UTC"):
        assert said in out
    assert out.count("a helper's fingerprint") == 3
    code, out, _ = ebbtide("show", "epoch.cbor", "--key", made)
    assert code == 0 and "its signature holds" in out and "its window holds now" in out and epoch.sha256.hex() in out
    code, out, _ = ebbtide("show", "epoch.cbor")
    assert code == 0 and "its signature was not looked at" in out and "its signature holds" not in out


def test_the_same_list_signed_twice_is_seeded_twice(ebbtide, made, tmp_path):
    seeds = set()
    for _ in range(2):
        assert ebbtide(*SIGN, "--overwrite")[0] == 0
        epoch = verified((tmp_path / "epoch.cbor").read_bytes(), bytes.fromhex(made), time.time(), AUDIENCE)
        seeds.add(epoch.seed)
    assert len(seeds) == 2


@pytest.mark.parametrize("phrase", ["correct horse\n", "correct horse", "correct horse\r\n"])
def test_a_key_under_a_passphrase_opens_with_it_alone(ebbtide, made, tmp_path, phrase):
    assert ebbtide("key", "safe.pem", "--passphrase-file", "phrase")[0] == 0
    assert b"ENCRYPTED" in (tmp_path / "safe.pem").read_bytes()
    for name, text in (("again", phrase), ("wrong", "battery staple")):
        (tmp_path / name).write_bytes(text.encode())
    safe = ("sign", "keys.list", "--key", "safe.pem", "--out", "epoch.cbor")
    for options, said in (
        ((), "its passphrase: --passphrase-file"),
        (("--passphrase-file", "wrong"), "and its passphrase"),
    ):
        code, _, err = ebbtide(*safe, *options)
        assert code == 2 and said in err and "battery" not in err and err.count("\n") == 1
    assert not (tmp_path / "epoch.cbor").exists()
    assert ebbtide(*safe, "--passphrase-file", "again")[0] == 0
    code, _, err = ebbtide(*SIGN, "--overwrite", "--passphrase-file", "phrase")
    assert code == 2 and "it is not encrypted" in err


def test_the_key_is_its_owner_s_alone_and_never_replaced(ebbtide, made, tmp_path):
    file = tmp_path / "offline.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    code, _, err = ebbtide("key", "offline.pem")
    assert code == 2 and "expected a free place" in err and file.read_bytes() == before
    (tmp_path / "link.pem").symlink_to(tmp_path / "nowhere.pem")
    assert ebbtide("key", "link.pem")[0] == 2 and not (tmp_path / "nowhere.pem").exists()
    file.chmod(0o640)
    code, _, err = ebbtide(*SIGN)
    assert code == 2 and "chmod 600" in err


def test_a_disk_that_fails_leaves_no_half_of_a_key(ebbtide, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(offline_key.os, "fsync", full)
        code, _, err = ebbtide("key", "offline.pem")
    assert code == 1 and "No space left" in err and list(tmp_path.iterdir()) == []
    assert ebbtide("key", "offline.pem")[0] == 0


def another_kind(tmp_path):
    key = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "offline.pem").write_bytes(key)


def doubled(tmp_path):
    write_list(tmp_path / "helpers.list", EnrolmentList(AUDIENCE, 4, (leaves(1)[0], *helpers(2))))


def elsewhere(tmp_path):
    write_list(tmp_path / "helpers.list", EnrolmentList("south", 4, tuple(helpers(3))))


HELPED = ("--helpers", "helpers.list")
MISTAKES = {
    "no list": (lambda at: (at / "keys.list").unlink(), (), "keys.list"),
    "a list that is none": (
        lambda at: (at / "keys.list").write_bytes(b"\x83"),
        (),
        "expected a list of keys in keys.list",
    ),
    "no key": (lambda at: (at / "offline.pem").unlink(), (), "offline.pem"),
    "a key that is none": (lambda at: (at / "offline.pem").write_text("-----"), (), "expected an Ed25519 private key"),
    "a key of another kind": (another_kind, (), "got another kind"),
    "an epoch is there": (lambda at: (at / "epoch.cbor").write_text("x"), (), "--overwrite"),
    "too long": (lambda at: None, ("--days", "32"), "32"),
    "no round": (lambda at: None, ("--draws", "0"), "0"),
    "six helpers": (
        lambda at: write_list(at / "helpers.list", EnrolmentList(AUDIENCE, 4, tuple(helpers(6)))),
        HELPED,
        "expected no helpers, or 1 to 5",
    ),
    "a helper that is a device": (doubled, HELPED, "expected an identity of its own for everybody"),
    "helpers of another audience": (elsewhere, HELPED, "expected helpers' keys for epoch 4 of audience 'north'"),
    "an empty passphrase": (lambda at: (at / "phrase").write_text("\n"), ("--passphrase-file", "phrase"), "one line"),
    "two lines": (lambda at: (at / "phrase").write_text("a\nb"), ("--passphrase-file", "phrase"), "one line"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_signed(ebbtide, made, tmp_path, case):
    prepare, options, said = MISTAKES[case]
    prepare(tmp_path)
    code, _, err = ebbtide(*SIGN, *options)
    assert code == 2 and said in err and "Traceback" not in err and err.count("ebbtide: ") == 1
    assert not (tmp_path / "epoch.cbor").exists() or (tmp_path / "epoch.cbor").read_text() == "x"


def test_show_says_by_its_exit_code_whether_an_epoch_holds(ebbtide, tmp_path):
    now_s = int(time.time())
    windows = {
        "now": (now_s - DAY_S, now_s + DAY_S, 0, ""),
        "old": (now_s - 2 * DAY_S, now_s - DAY_S, 1, "expected an epoch that goes on"),
        "early": (now_s + DAY_S, now_s + 2 * DAY_S, 1, "expected an epoch that has begun"),
    }
    key = OFFLINE_KEY.public_key().public_bytes_raw().hex()
    for name, (begins_s, ends_s, expected, said) in windows.items():
        epoch = make_epoch(begins_s=begins_s, ends_s=ends_s)
        (tmp_path / name).write_bytes(sign(epoch, OFFLINE_KEY))
        code, out, err = ebbtide("show", name, "--key", key)
        assert (code, epoch.sha256.hex() in out) == (expected, True) and said in err
    code, out, err = ebbtide("show", "now", "--key", "ab" * 32)
    assert code == 1 and "expected an epoch signed by the key that is pinned" in err and "holds now" not in out


@pytest.mark.parametrize("key", ["", "ab", "zz" * 32, "ab" * 33])
def test_show_takes_a_public_key_or_none(ebbtide, tmp_path, key):
    (tmp_path / "epoch").write_bytes(sign(make_epoch(), OFFLINE_KEY))
    code, out, err = ebbtide("show", "epoch", "--key", key)
    assert (code == 2 and "in hex" in err) or (key == "" and "not looked at" in out)


@pytest.mark.parametrize("content", [b"", b"\0", b"x" * 5000])
def test_show_of_what_is_no_epoch_is_one_line(ebbtide, tmp_path, content):
    (tmp_path / "epoch").write_bytes(content)
    code, out, err = ebbtide("show", "epoch")
    assert code == 2 and not out and err.count("\n") == 1 and "epoch" in err


@pytest.mark.parametrize("largest", [(1 << 53) - 1])
def test_a_date_that_no_calendar_has_is_shown_as_its_second(ebbtide, tmp_path, largest):
    (tmp_path / "epoch").write_bytes(sign(make_epoch(begins_s=largest - 1, ends_s=largest), OFFLINE_KEY))
    code, out, _ = ebbtide("show", "epoch")
    assert code == 1 and f"second {largest}" in out


def test_help_says_who_should_run_it(ebbtide):
    code, out, _ = ebbtide("--help")
    assert code == 0 and "somebody who does not run the server" in out
