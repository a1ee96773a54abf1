"""Eight fake CPU devices, quick compilation, strict promotion, and the recordings."""

import gc
import os
import signal
from pathlib import Path

from support.fast_compile import FLAGS

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Commands in processes of their own leave the user's cache alone.
os.environ["PRIMUS_JAX_CACHE"] = "off"
# What somebody sets outside comes last, and wins.
os.environ["XLA_FLAGS"] = f"{FLAGS} {os.environ.get('XLA_FLAGS', '')}".strip()

import jax
import pytest
from support.shared_setups import SharedSetups

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.recordings.windows import WindowSpec

# A shell that runs the tests in the background has SIGINT ignored, which every child would inherit.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")


# Minutes in few tests: two workers end together where one of them does not begin these last.
LONG = ("test_multiprocess.py", "test_stop_and_resume.py", "test_mesh.py", "test_training.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, keep the order of the others, and set the garbage collector."""
    items.sort(key=lambda item: item.path.name not in LONG)
    # What was imported stays: looking through it for garbage is a tenth of the time of a trace.
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="module", autouse=True)
def shared_setups():
    """Runs of one experiment in one module trace and compile their steps once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("primus_jax.training.loop.set_up", SharedSetups())
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings that lies beside a developer's checkout; never part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no folder of real recordings (../shared/data) beside this checkout")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """A small simulated dataset: 6 people, 96 windows of 2.6 s."""
    folder = tmp_path_factory.mktemp("data") / "simulated"
    write_dataset(
        recordings(seed=3, people=6, bouts=1, seconds=2.6),
        folder,
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((0.7, 0.3, 0.0), seed=0)),
    )
    return folder
