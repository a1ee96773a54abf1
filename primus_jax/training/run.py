"""The folder of one run: what made it, whether it may be resumed, and its state."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from primus_jax.config import Config, config_hash, flatten, free_options, from_dict, to_dict
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.parallel import sharding
from primus_jax.parallel.processes import Processes
from primus_jax.provenance import provenance
from primus_jax.training.checkpoint import Checkpoints
from primus_jax.training.folder_lock import LOCK
from primus_jax.training.setup import set_up
from primus_jax.training.state import TrainState

# In which every process must see what the first one wrote.
SHOWN_SECONDS = 20.0


def open_run(
    workdir: Path,
    config: Config,
    data: dict[str, dict[str, Any]],
    towers: dict[str, str],
    log: Callable[[str], None] = print,
) -> None:
    """Write `run.json` of a new run, or check that `config` and the data continue this one.

    Args:
        workdir: made where it is missing.
        config: of this start.
        data: `describe_data` of the datasets.
        towers: digests of the frozen towers that run in the step; {} without any.
        log: prints one line.

    Raises:
        PrimusError: the folder holds another run; the values that differ are named.
    """
    path = workdir / "run.json"
    if path.exists():
        old = read_run(workdir)
        # What an older version did not know has its default.
        before = to_dict(from_dict(old["config"]))
        _check_same(workdir, flatten(before), flatten(to_dict(config)), free_options(config))
        then, now = _hashes(old["data"]), _hashes(data)
        if list(then.values()) != list(now.values()):
            raise PrimusError(
                f"{workdir} was started on other data: content {then}, now {now}. "
                f"Use the same datasets, or another --workdir."
            )
        if old.get("towers", {}) != towers:
            places = [p for p in (config.data.towers, *config.objective.frozen.values()) if p]
            raise PrimusError(
                f"{workdir} was started with frozen networks of other weights: "
                f"{old.get('towers', {})}, now {towers}. Restore those in {', '.join(places)}, or "
                f"choose another --workdir."
            )
        return
    if workdir.is_dir() and any(path.name != LOCK for path in workdir.iterdir()):
        raise PrimusError(f"{workdir} is not empty and holds no run. Choose another --workdir.")
    workdir.mkdir(parents=True, exist_ok=True)
    row = {
        "config": to_dict(config),
        "config_hash": config_hash(config),
        "data": data,
        "towers": towers,
        "provenance": provenance(),
    }
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps(row, indent=1) + "\n")
    log(f"new run in {workdir}, config {row['config_hash']}")


def read_run(workdir: str | Path) -> dict[str, Any]:
    """The content of `run.json`.

    Raises:
        PrimusError: the folder is not a run.
    """
    path = Path(workdir) / "run.json"
    if not path.is_file():
        raise PrimusError(f"{workdir} is not a pretraining run: it has no run.json.")
    return json.loads(path.read_text())


def start_facts(
    config: Config, data: dict[str, dict[str, Any]], towers: dict[str, str]
) -> dict[str, Any]:
    """By name, everything that processes must have alike to train one encoder together."""
    made = provenance()
    return {
        **{f"config.{name}": value for name, value in flatten(to_dict(config)).items()},
        **{f"content of {path}": row["content_hash"] for path, row in data.items()},
        **{f"{name} tower": digest for name, digest in towers.items()},
        **{f"version of {name}": version for name, version in made["packages"].items()},
        "version of python": made["python"],
        "devices of one process": jax.local_device_count(),
    }


def check_shared(workdir: Path, processes: Processes) -> None:
    """Refuse a folder that is not the same one for every process; all must call it.

    Raises:
        CommonError: a process does not find the `run.json` that the first has.
    """
    path = workdir / "run.json"

    def content() -> str:
        return path.read_text() if path.exists() else ""

    expected = processes.exchange(content() if processes.first else None)[0]
    with processes.raise_together():
        # A network file system may show it a little later.
        deadline = time.monotonic() + SHOWN_SECONDS
        while content() != expected:
            if time.monotonic() > deadline:
                raise PrimusError(
                    f"{path} is not what process 0 ({processes.hosts[0]}) wrote there. --workdir "
                    f"must be on a file system that all hosts share."
                )
            time.sleep(0.2)


def describe_data(folders: Sequence[DatasetFolder]) -> dict[str, dict[str, Any]]:
    """What a run remembers of its datasets, by path, in the order in which they are read."""
    return {
        str(folder.path): {
            "content_hash": folder.content_hash,
            "rate_hz": folder.rate_hz,
            "window_samples": folder.window_samples,
            "splits": folder.splits,
            "simulated": folder.simulated,
        }
        for folder in folders
    }


def load_state(workdir: str | Path, checkpoint: str) -> tuple[TrainState, Config, dict[str, Any]]:
    """The state of a run at "best" (by validation loss), "latest", or a step number.

    Returns state, config and the content of `run.json`.

    Raises:
        PrimusError: no run, no such checkpoint, or a damaged one.
    """
    row = read_run(workdir)
    config = from_dict(row["config"])
    checkpoints = Checkpoints(Path(workdir) / "checkpoints", reads_only=True)
    try:
        steps = checkpoints.steps()
        if not steps:
            raise PrimusError(f"{workdir} has no checkpoint yet.")
        if checkpoint in ("best", "latest"):
            best = checkpoints.best() if checkpoint == "best" else None
            step = steps[-1] if best is None else best
        elif checkpoint.isdigit() and int(checkpoint) in steps:
            step = int(checkpoint)
        else:
            raise PrimusError(
                f"{workdir} has no checkpoint {checkpoint!r}; expected best, latest or one of "
                f"{steps}."
            )
        samples = next(iter(row["data"].values()))["window_samples"]
        setup = set_up(config, sharding.make_mesh(1), samples)
        return checkpoints.restore_step(step, setup.abstract), config, row
    finally:
        checkpoints.close()


def _hashes(data: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {path: values["content_hash"] for path, values in data.items()}


def _check_same(workdir: Path, old: dict[str, Any], new: dict[str, Any], free: set[str]) -> None:
    if old.get("optim.schedule") == new.get("optim.schedule") == "constant":
        free = free | {"steps"}
    different = [
        f"{name}: {old.get(name)!r} there, {new.get(name)!r} now"
        for name in sorted(old.keys() | new.keys())
        if name not in free and old.get(name) != new.get(name)
    ]
    if different:
        raise PrimusError(
            f"{workdir} holds a run with another config ({'; '.join(different)}). "
            f"Restore these values to resume it, or choose another --workdir."
        )
