"""What `predict` imports and keeps: seconds of a person who waits."""

import json
import subprocess
import sys

from support.process_runs import PATIENCE, environment
from support.user_files import tiny_encoder, write_classifier, write_user_csv

UNITS = ("--acc-unit", "g", "--gyro-unit", "deg/s")
# Runs command lines and prints the modules that they brought, and their ends.
_RUN = """
import json, sys
from primus_jax.cli import main
ends = []
for arguments in json.loads(sys.argv[1]):
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    ends.append((code, [m for m in sys.argv[2].split() if m in sys.modules]))
print(json.dumps(ends))
"""
HEAVY = "jax scipy.signal matplotlib transformers orbax grain tensorflow_datasets sklearn torch"


def test_predict_imports_little_and_keeps_what_it_compiled(tmp_path):
    classifier = tmp_path / "classifier"
    write_classifier(classifier, tiny_encoder(), ("walk", "sit"), [25.0])
    write_user_csv(tmp_path / "new.csv", people=("dora",), bouts=1)
    predict = [
        "predict",
        str(tmp_path / "new.csv"),
        "--classifier",
        str(tmp_path / "classifier"),
        *UNITS,
    ]
    commands = [["predict", "--help"], [*predict, "--out", str(tmp_path / "p")]]
    variables = {
        name: value
        for name, value in environment().items()
        if name not in ("JAX_COMPILATION_CACHE_DIR", "PRIMUS_JAX_CACHE")
    } | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", _RUN, json.dumps(commands), HEAVY], capture_output=True, text=True,
        env=variables, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (help_code, help_modules), (code, modules) = json.loads(done.stdout.splitlines()[-1])
    assert (help_code, help_modules) == (0, [])
    # This recording has another rate than the encoder, which SciPy resamples.
    assert code == 0, done.stderr
    assert (code, modules) == (0, ["jax", "scipy.signal", "matplotlib"])
    assert list((tmp_path / "cache" / "primus-jax").glob("*/jit_embed*-cache"))
