import json

import numpy as np

from server.state import ServerFolder


def test_progress_is_one_json_line_per_report(tmp_path):
    folder = ServerFolder(tmp_path / "deep" / "server")
    folder.report("rounds", 1, 3, epsilon=0.5)
    folder.report("rounds", 2, 3, epsilon=None)
    lines = [json.loads(line) for line in folder.progress_file.read_text().splitlines()]
    assert lines == [
        {"phase": "rounds", "done": 1, "total": 3, "epsilon": 0.5},
        {"phase": "rounds", "done": 2, "total": 3, "epsilon": None},
    ]


def test_models_and_account_go_round_and_leave_no_half_file(tmp_path):
    folder = ServerFolder(tmp_path)
    models = [np.full(4, i, np.float32) for i in range(3)]
    for _ in range(2):
        folder.keep_models(models)
        folder.keep_account({"rounds_charged": 2, "epsilon_to_public": None})
    np.testing.assert_array_equal(np.load(folder.models_file), models)
    assert json.loads(folder.account_file.read_text()) == {"rounds_charged": 2, "epsilon_to_public": None}
    assert sorted(f.name for f in tmp_path.iterdir()) == ["account.json", "models.npy"]
