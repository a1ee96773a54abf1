"""docs/quickstart.ipynb: its cells, in order, in an empty folder; no Jupyter is needed."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import primus_jax

NOTEBOOK = Path(__file__).parents[1] / "docs" / "quickstart.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]
PROGRAM = "\n\n".join("".join(cell["source"]) for cell in CODE)


def test_the_notebook_uses_public_names_only():
    tree = ast.parse(PROGRAM)
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "primus_jax"
    }
    assert {"load_encoder", "DatasetFolder"} <= used <= set(primus_jax.__all__)
    imported = {
        getattr(node, "module", None) or node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not {name for name in imported if name.startswith(("primus_jax.", "data_prep"))}


def test_the_config_of_the_notebook_is_valid():
    """The cell writes the config file; the fast suite trains nothing, but reads the config."""
    texts = [node.value for node in ast.walk(ast.parse(PROGRAM)) if isinstance(node, ast.Constant)]
    (text,) = [text for text in texts if isinstance(text, str) and "def get_config" in text]
    names: dict = {}
    exec(text, names)
    names["get_config"]().validate()


def test_the_stored_outputs_are_those_of_one_run_in_order():
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    kinds = [output["output_type"] for cell in CODE for output in cell["outputs"]]
    assert set(kinds) == {"stream", "display_data"}
    (picture,) = (o for cell in CODE for o in cell["outputs"] if o["output_type"] == "display_data")
    assert "image/png" in picture["data"]
    assert NOTEBOOK.stat().st_size < 200_000


@pytest.mark.slow
def test_the_cells_run_as_written(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "(1536, 250, 6) -> (1536, 512)" in done.stdout
    assert "step 200  validation loss" in done.stdout
    assert (tmp_path / "encoders" / "quickstart" / "model.safetensors").is_file()
    assert (tmp_path / "results" / "quickstart" / "table.md").is_file()
