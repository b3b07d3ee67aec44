"""A run whose devices refuse, through Flower: `ebbtide simulate` says so in one sentence and exits with 1."""

import json
import sys

import pytest

from shared.errors import IN_WORDS, RefusalCode
from simulations.cli import main as cli
from simulations.federation.run_folder import RunFolder

#: Owners who take part once, in a plan of six rounds that nearly everybody is in.
REFUSED = [
    "simulation.fidelity=hosts",
    "simulation.hosts=2",
    "caps.table=default",
    "caps.participations_per_plan=1",
    "privacy.sampling_rate=0.99",
    "privacy.rounds=6",
    "privacy.noise_multiplier=4.0",
    "privacy.max_epsilon=inf",
    "risk.rounds=0",
    "bits.every_steps=0",
    "warm_start.users=0",
]


@pytest.mark.slow
def test_a_run_whose_devices_refuse_ends_with_a_sentence_and_keeps_its_account(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    options = [word for setting in REFUSED for word in ("--set", setting)]

    def ebbtide(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["ebbtide", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code), " ".join(capsys.readouterr().err.split())

    code, said = ebbtide("simulate", "demo", "--users", "12", "--out", str(folder), *options)
    reason, remedy = IN_WORDS[RefusalCode.PARTICIPATIONS]
    assert code == 1 and "devices refused the last round. Nearly all refused 2 rounds running" in said
    assert reason in said and remedy in said and "Traceback" not in said and " | " not in said
    account = json.loads(RunFolder(folder).server.account_file.read_text())
    assert account["stopped"] in said and 3 <= account["rounds_charged"] < 6
    code, said = ebbtide("evaluate", str(folder))
    assert code == 2 and "which stopped: Nearly all refused" in said
