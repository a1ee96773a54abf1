"""The launch files start what they say."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "launch" / "local.sh"


def test_local_runs_the_command_and_hands_back_its_status(simulated, tmp_path):
    assert os.access(SCRIPT, os.X_OK)
    done = subprocess.run(
        [str(SCRIPT), "info", str(simulated)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    done = subprocess.run(
        [str(SCRIPT), "info", str(tmp_path / "nothing")],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no such folder" in done.stderr
