"""Numbers of the published IMG2IMU programs, from the folder beside a developer's checkout."""

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "spec" / "golden"
WEIGHTS = FOLDER / "img2imu_resnet18.safetensors"


def golden(case: str) -> dict[str, np.ndarray]:
    """The arrays of `group/case`, by the rest of their names."""
    path = FOLDER / "img2imu.npz"
    if not path.is_file():
        pytest.skip("no golden numbers (../shared/spec/golden/img2imu.npz) beside this checkout")
    with np.load(path, allow_pickle=False) as file:
        prefix = f"{case}/"
        found = {n.removeprefix(prefix): file[n] for n in file.files if n.startswith(prefix)}
    assert found, case
    return found
