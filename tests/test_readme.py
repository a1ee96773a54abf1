"""The README's commands and snippet, as written, in a folder of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_link_and_picture_exists():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).is_file(), target


@pytest.mark.slow
def test_the_commands_and_the_snippet_run_as_written(tmp_path):
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    scripts = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}

    def run(command, **options):
        return subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, text=True, timeout=1200, **options
        )

    run(["primus-jax", "demo"])
    assert (tmp_path / "demo" / "report" / "report.html").is_file()
    (snippet,) = blocks("python")
    done = run([sys.executable, "-c", snippet], capture_output=True)
    assert done.stdout.strip() == "(1, 512)"
    tour = "".join(block for block in blocks("bash") if "primus-jax" in block)
    tour = tour.replace("source .venv/bin/activate\n", "")
    run(["bash", "-euo", "pipefail", "-c", tour])
    assert (tmp_path / "results" / "tour" / "table.md").is_file()
