"""Eight fake CPU devices, strict promotion, warnings as errors, and the real recordings."""

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings that lies beside a developer's checkout; never part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder of real recordings (../shared/data) beside this checkout")
    return folder
