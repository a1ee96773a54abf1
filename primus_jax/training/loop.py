"""The training loop: one page, one loop, for every objective.

The step is the clock (law 2): data order, randomness, schedule and checkpoints follow from it.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax

from primus_jax.config import Config
from primus_jax.data.pipeline import Pipeline
from primus_jax.errors import PrimusError
from primus_jax.files import local_path
from primus_jax.parallel import sharding
from primus_jax.parallel.processes import CommonError, Processes
from primus_jax.training.checkpoint import Checkpoints
from primus_jax.training.folder_lock import FolderLock, hold_folder
from primus_jax.training.in_step_towers import open_in_step_towers
from primus_jax.training.metrics import MetricsLog, NoMetrics, Progress
from primus_jax.training.monitor import MetricsMonitor
from primus_jax.training.run import check_shared, describe_data, open_run, start_facts
from primus_jax.training.setup import Setup, set_up
from primus_jax.training.state import TrainState
from primus_jax.training.stop import StopRequest, stop_signals
from primus_jax.training.validation import Validation, open_pipeline, open_validation
from primus_jax.trees import Tree

Log = Callable[[str], None]


def pretrain(
    config: Config,
    workdir: str | Path,
    log: Log = print,
    processes: Processes | None = None,
) -> TrainState:
    """Train until `config.steps`, resuming from the newest checkpoint in `workdir`.

    SIGTERM and SIGINT, to whichever process, save a checkpoint and return after the same step.

    Args:
        config: of the experiment; the same in every process.
        workdir: folder of the run; the same for every process.
        log: takes one line; only the first process calls it.
        processes: all that train together (`primus-jax pretrain` makes them); None: this one.

    Raises:
        PrimusError: invalid config or data, another run's folder, a folder that another process
            is using, or a last checkpoint that could not be saved.
        NotFinite: names the step, the windows of its batch and the last good checkpoint.
    """
    processes = processes or Processes()
    if processes.count != jax.process_count():
        raise PrimusError(
            f"this is one of {jax.process_count()} processes of jax.distributed; `primus-jax "
            f"pretrain --coordinator ... --processes ... --process-id ...` trains with several."
        )
    log = log if processes.first else _log_nothing
    with contextlib.ExitStack() as stack:
        run = _open(config, workdir, processes, log, stack)
        stop = stack.enter_context(stop_signals())
        checkpoints = Checkpoints(run.workdir / "checkpoints", config.checkpoint.keep, processes)
        stack.callback(checkpoints.close)
        state = checkpoints.restore_newest(run.setup.abstract, log)
        state = run.setup.init_state() if state is None else state
        start = int(state.step)
        log(
            f"{'resuming at' if start else 'starting at'} step {start} of {config.steps}, "
            f"{run.data.size} training windows, {run.setup.mesh.size} device(s)"
            + (f" in {processes.count} processes" if processes.count > 1 else "")
        )
        for note in run.data.notes:
            log(note)
        metrics = MetricsLog(run.workdir, start) if processes.first else NoMetrics()
        stack.callback(metrics.close)
        progress = Progress(config.steps, start, config.data.batch_size, log)
        monitor = MetricsMonitor(run.data, metrics, progress, config.log_every)
        monitor.saved(start, validated=False)
        processes.where = lambda: f" at step {monitor.step}; {checkpoints.newest()}"
        return _train(run, state, checkpoints, monitor, stop)


@dataclasses.dataclass
class _Run:
    """What a run works with from its first step to its last.

    Attributes:
        setup: functions of the experiment on its mesh.
        data: this process's batches of the training split.
        validation: None without a validation split.
        towers: parameters of the towers in the step, on every device.
        workdir, processes, log: of this start.
        lock: of the folder, which the first process holds; None on the others.
        damaged: records that were replaced so far, on all processes.
    """

    setup: Setup
    data: Pipeline
    validation: Validation | None
    towers: Tree
    workdir: Path
    processes: Processes
    log: Log
    lock: FolderLock | None
    damaged: list[str] = dataclasses.field(default_factory=list)


def _open(
    config: Config,
    workdir: str | Path,
    processes: Processes,
    log: Log,
    stack: contextlib.ExitStack,
) -> _Run:
    """Check everything that a run needs, before anything is computed; `stack` holds the folder."""
    with processes.raise_together():
        workdir = local_path(workdir, "--workdir")
        for path in (*config.data.train, config.data.towers, *config.objective.frozen.values()):
            local_path(path, "a path of config.data or config.objective")
        config.validate()
        mesh = sharding.make_mesh(config.devices, config.mesh.replicas)
        sharding.check_batch(mesh, config.data.batch_size)
        folders = [config.objective.open_folder(path) for path in config.data.train]
        towers = open_in_step_towers(config, folders)
        data = open_pipeline(config, folders, towers.inputs, "train", config.data.batch_size)
        validation = open_validation(config, folders, towers.inputs, mesh.size)
    described = describe_data(folders)
    processes.check_consistent(start_facts(config, described, towers.digests))
    lock = None
    with processes.raise_together():
        if processes.first:
            lock = stack.enter_context(hold_folder(workdir, log))
            open_run(workdir, config, described, towers.digests, log)
    check_shared(workdir, processes)
    setup = set_up(config, mesh, folders[0].window_samples, towers.embed)
    params = sharding.replicate(mesh, towers.params)
    return _Run(setup, data, validation, params, workdir, processes, log, lock)


def _train(
    run: _Run,
    state: TrainState,
    checkpoints: Checkpoints,
    monitor: MetricsMonitor,
    stop: StopRequest,
) -> TrainState:
    """Update until the last step, or until a process was asked to stop."""
    setup, config, mesh = run.setup, run.setup.config, run.setup.mesh
    start = int(state.step)
    batches = run.data.from_step(start)
    for step in range(start + 1, config.steps + 1):
        batch = sharding.global_batch(mesh, next(batches))
        stop_flags = sharding.stop_flags(mesh, stop.is_set)
        state, metrics = setup.train_step(state, run.towers, batch, stop_flags)
        monitor.add(step, metrics)
        scheduled = step % config.checkpoint.every == 0 or step == config.steps
        if scheduled or monitor.stop:
            monitor.catch_up()
            _save(run, step, state, checkpoints, monitor, validate=scheduled)
        if monitor.stop and step < config.steps:
            break
    if failed := checkpoints.wait_until_saved():
        raise CommonError(f"{failed.message} Make room, and run the same command again.")
    if (last := int(state.step)) > start:
        # A store may accept what it does not keep: a run ends well if its last save can be read.
        del state
        state = checkpoints.restore_step(last, setup.abstract)
    if monitor.stop and last < config.steps:
        _log_stopped(run, last, run.processes.exchange(stop.name))
    return state


def _save(
    run: _Run,
    step: int,
    state: TrainState,
    checkpoints: Checkpoints,
    monitor: MetricsMonitor,
    *,
    validate: bool,
) -> None:
    """Validate where it is due, then start to save; a failed save before it is only logged."""
    loss = None
    if validate and run.validation is not None:
        loss = run.validation.loss(run.setup, state, run.towers)
        monitor.validated(step, loss)
    if run.setup.config.data.skip_damaged:
        _log_damaged(run)
    if failed := checkpoints.wait_until_saved():
        monitor.not_saved(failed.step)
        run.log(f"warning: {failed.message} Training goes on.")
    with run.processes.raise_together():
        if run.lock is not None:
            run.lock.check()
    checkpoints.save(state, loss)
    monitor.saved(step, validated=loss is not None)


def _log_nothing(line: str) -> None:
    """Stand for the log in every process but the first."""


def _log_damaged(run: _Run) -> None:
    found = sorted(set().union(*run.processes.exchange(run.data.damaged())))
    if found != run.damaged:
        run.log(f"warning: {len(found)} damaged record(s) skipped: {'; '.join(found)}")
        run.damaged = found


def _log_stopped(run: _Run, step: int, names: list[str]) -> None:
    who = next(i for i, name in enumerate(names) if name)
    on = f" to {run.processes.name(who)}" if run.processes.count > 1 else ""
    run.log(f"stopped by {names[who]}{on}: saved step {step}; the same command resumes it")
