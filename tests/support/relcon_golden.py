"""Numbers of the original RelCon program, from the folder beside a developer's checkout."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from primus_jax.hub.layout import layout

FILE = Path(__file__).resolve().parents[3] / "shared" / "spec" / "golden" / "relcon.npz"


def golden(case: str) -> dict[str, np.ndarray]:
    """The arrays of `group/case`, by the rest of their names."""
    if not FILE.is_file():
        pytest.skip("no golden numbers (../shared/spec/golden/relcon.npz) beside this checkout")
    with np.load(FILE, allow_pickle=False) as file:
        found = {n.removeprefix(f"{case}/"): file[n] for n in file.files if n.startswith(case)}
    assert found, case
    return found


def golden_params(case: str, config, dtype=np.float64):
    """The weights of a case in our tree."""
    values = golden(case)
    params = {
        path: jnp.asarray(values[f"param/{name}"].T, dtype)
        for name, (path, _) in layout(config).items()
    }
    return unflatten_dict(params)


def assert_close(ours, theirs, tolerance) -> None:
    """Equal to `tolerance`, relative to the largest entry."""
    scale = max(float(np.abs(theirs).max()), 1e-300)
    worst = float(np.abs(np.asarray(ours, np.float64) - theirs).max()) / scale
    assert worst < tolerance, worst
