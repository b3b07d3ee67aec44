"""A deployment on the loopback: a SuperLink and SuperNodes as processes of their own, over TLS, each node under a key that was registered.

Every process carries a marker in its environment; all of them are ended with the `with` block.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import tomli_w
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from simulations.federation.flower_runtime import _environment, end_run

WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def name_of(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common)])


def write_certificates(folder: Path) -> list[str]:
    """A certificate authority, and a server at 127.0.0.1 that it vouches for; the options that name the files."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(subject: str, public: ec.EllipticCurvePublicKey, *, is_ca: bool) -> x509.Certificate:
        local = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        return (
            x509.CertificateBuilder()
            .subject_name(name_of(subject))
            .issuer_name(name_of("tests"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(local), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )

    files = {
        "ca": certificate("tests", ca_key.public_key(), is_ca=True).public_bytes(Encoding.PEM),
        "cert": certificate("127.0.0.1", key.public_key(), is_ca=False).public_bytes(Encoding.PEM),
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }
    for name, data in files.items():
        (folder / f"{name}.pem").write_bytes(data)
    paths = {name: str(folder / f"{name}.pem") for name in files}
    return ["--ssl-ca-certfile", paths["ca"], "--ssl-certfile", paths["cert"], "--ssl-keyfile", paths["key"]]


def write_node_key(folder: Path, name: str) -> tuple[str, str]:
    """The files of a SuperNode's private and public key."""
    key = ec.generate_private_key(ec.SECP384R1())
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    return str(private), str(public)


class Deployment:
    """A SuperLink that runs, and SuperNodes by name."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._marker = f"{folder.resolve()}:{uuid4().hex}"
        self._tls = write_certificates(folder)
        self._processes: list[subprocess.Popen[bytes]] = []

    def environment(self, home: str) -> dict[str, str]:
        (self.folder / home).mkdir(exist_ok=True)
        return _environment(self.folder / home, self._marker, self.folder / "ray")

    def start(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(
                    command,
                    env=self.environment(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def start_superlink(self) -> None:
        link = {"address": f"127.0.0.1:{self.port}", "root-certificates": self._tls[1]}
        self.environment("cli")
        config = tomli_w.dumps({"superlink": {"default": "tests", "tests": link}})
        (self.folder / "cli" / "config.toml").write_text(config)
        listens = ["--host", "127.0.0.1", "--port", str(self.port), "--enable-supernode-auth"]
        kept = ["--database", str(self.folder / "state.db"), "--disable-runtime-dependency-installation"]
        self.start("superlink", ["flower-superlink", *listens, *self._tls, *kept])
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.folder / "superlink.log").read_text())

    def start_supernode(self, name: str, config: Mapping[str, str]) -> None:
        """Register a node's key, and start the node."""
        private, public = write_node_key(self.folder, name)
        self.flwr("supernode", "register", public, "tests")
        told = " ".join(f'{key}="{value}"' for key, value in config.items())
        address = ["--superlink", f"127.0.0.1:{self.port}", "--root-certificates", self._tls[1]]
        own = ["--auth-supernode-private-key", private, "--port", str(free_port()), *self._tls]
        self.start(name, ["flower-supernode", *address, *own, "--node-config", told])

    def flwr(self, *arguments: str, timeout_s: float = WAIT_S) -> str:
        """What a command of Flower's says; AssertionError if it fails."""
        done = subprocess.run(
            ["flwr", *arguments],
            env=self.environment("cli"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def outcome(self) -> str:
        """How the last run ended."""
        return str(json.loads(self.flwr("ls", "--format", "json"))["runs"][0]["status"])

    def end(self) -> None:
        end_run(self._marker, None)
        for process in self._processes:
            process.wait(timeout=15)


@contextmanager
def deployed(folder: Path) -> Iterator[Deployment]:
    """A deployment in an empty folder."""
    deployment = Deployment(folder)
    try:
        deployment.start_superlink()
        yield deployment
    finally:
        deployment.end()
