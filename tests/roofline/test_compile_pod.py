"""The step for pods that are not here: the command as a user runs it, and its refusals."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from primus_jax.config_file import read_config

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "launch" / "compile_pod.py"
TINY = str(ROOT / "tests" / "support" / "tiny_config.py")


def run(*arguments, timeout=500):
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
    )


def load_script():
    spec = importlib.util.spec_from_file_location("compile_pod", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_command_prices_a_step_on_sixteen_devices(tmp_path):
    done = run(
        "--config", TINY, "--fake-devices", "16", "--chip", "h100", "--window-samples", "130",
        "--config.data.train=('anywhere',)", "--config.objective.contrastive=ring",
        "--config.data.batch_size=32", "--out", str(tmp_path / "cost.json"),
        "--hlo", str(tmp_path / "step.txt"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "16 x h100" in done.stdout
    assert "scaling efficiency" in done.stdout
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert (cost["devices"], cost["domain"]) == (16, 8)
    memory = cost["memory_bytes"]
    assert (
        memory["total"]
        == sum(memory[x] for x in ("arguments", "temporaries", "outputs", "code"))
        - memory["reused"]
    )
    # Adam's two moments beside the parameters, in float32, and the queue: on every device
    assert memory["arguments"] > 3 * 4 * cost["parameters"]
    # what the ring's docstring says of each of its terms, at least
    assert cost["sent_bytes"]["collective-permute"] > 15 * 2 * 512 * 4
    # gradients are summed once: 2 (n - 1) / n of the parameters
    assert cost["sent_bytes"]["all-reduce"] == pytest.approx(
        2 * 15 / 16 * 4 * cost["parameters"], rel=0.05
    )
    assert cost["operations"]["float32 DEFAULT"] > 0
    assert cost["unknown_loops"] == 0
    seconds = cost["seconds"]
    assert seconds["best"] <= seconds["expected"] <= seconds["worst"]
    assert (tmp_path / "step.txt").read_text().startswith("HloModule")


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    done = run(
        "--config", TINY, "--fake-devices", "12", "--chip", "v5e",
        "--config.data.train=('anywhere',)", "--out", str(tmp_path / "cost.json"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "batch_size 16 does not divide among 12 devices" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "cost.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fake-devices", "8", "--chip", "v9"], "chip 'v9' is unknown; expected one of v4"),
        (["--fake-devices", "8"], "--fake-devices needs --chip, one of v4"),
        (["--fake-devices", "257", "--chip", "v5e"], "is 257; expected 1 to 256"),
        (["--topology", "v5e:2x2", "--chip", "v4"], "--chip v4 and --topology v5e:2x2 differ"),
        (["--topology", "v5e-256"], "chip 'v5e-256' is unknown"),
        (["--topology", "v5e:2x2", "--slices", "2"], "--slices is 2, config.mesh.replicas 1"),
        (["--topology", "v5e:16"], "expected a TPU and its shape, as v5e:16x16"),
        (["--topology", "v5e:2x2", "--config.steps=none"], "--config.steps=none"),
        (["--topology", "v5e:2x2", "--wrong"], "unknown arguments: --wrong"),
    ],
)
def test_mistakes_are_named(arguments, message, capsys):
    assert load_script().main(["--config", TINY, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_without_the_tpu_compiler_both_ways_out_are_named(capsys):
    if importlib.util.find_spec("libtpu"):
        pytest.skip("libtpu is installed here; the test is of what is said without it")
    assert load_script().main(["--config", TINY, "--topology", "v5e:2x2"]) == 2
    message = capsys.readouterr().err
    assert "pip install 'primus-jax[tpu]'" in message
    assert "--fake-devices 256 --chip v5e" in message


@pytest.mark.parametrize("name", ["primus_pod", "primus_pod_300m"])
def test_the_recipes_are_valid(name):
    config = read_config(str(ROOT / "configs" / f"{name}.py"), [])
    config.validate()
    assert config.data.batch_size % 256 == config.objective.queue_size % 256 == 0


def test_the_recipe_of_relcon_is_one_pass_over_a_billion_windows():
    config = read_config(str(ROOT / "configs" / "relcon_pod.py"), [])
    config.validate()
    batch, count = config.data.batch_size, config.objective.candidates
    assert batch % 256 == 0
    assert 0 <= 10**9 - config.steps * batch < batch
    text = " ".join((ROOT / "configs" / "relcon_pod.py").read_text().split())
    for number in (config.steps, batch * (batch + count) // 256, batch * (1 + count)):
        assert f"{number:,}" in text


@pytest.mark.slow
def test_a_step_with_a_distance_is_compiled_before_there_is_one(tmp_path):
    done = run(
        "--config", "configs/relcon_pod.py", "--fake-devices", "2", "--chip", "v5e",
        "--window-samples", "64", "--config.data.batch_size=4", "--config.objective.candidates=1",
        "--config.encoder.width1=4", "--config.encoder.width2=4", "--config.encoder.width3=4",
        "--config.objective.distance=nowhere", "--out", str(tmp_path / "cost.json"), timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cost = json.loads((tmp_path / "cost.json").read_text())
    # The distance is an argument: its weights are no parameters of the state.
    assert cost["parameters"] < 10_000
    assert cost["operations"]["bfloat16 HIGHEST"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["primus_pod", "primus_pod_300m"])
def test_the_recipes_fit_256_chips(name, tmp_path):
    done = run(
        "--config", f"configs/{name}.py", "--fake-devices", "256", "--chip", "v5e",
        "--out", str(tmp_path / "cost.json"), timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert cost["devices"] == 256
    assert cost["memory_bytes"]["total"] < cost["chip"]["memory"]
    assert cost["unknown_loops"] == 0
