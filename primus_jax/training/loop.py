"""The training loop: one page, one loop, for every objective.

The step is the clock (law 2): data order, randomness, schedule and checkpoints follow from it.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from primus_jax.config import Config
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.pipeline import Pipeline, example_batch
from primus_jax.errors import PrimusError
from primus_jax.files import local_path
from primus_jax.optim import make_optimizer
from primus_jax.parallel import sharding
from primus_jax.parallel.processes import CommonError, Processes
from primus_jax.training.checkpoint import Checkpoints
from primus_jax.training.folder_lock import hold_folder
from primus_jax.training.in_step_towers import InStepTowers, open_in_step_towers
from primus_jax.training.metrics import MetricsLog, NoMetrics, Progress
from primus_jax.training.monitor import MetricsMonitor
from primus_jax.training.run import check_shared, describe_data, open_run, start_facts
from primus_jax.training.state import TrainState, abstract_state, init_state, state_maker
from primus_jax.training.step import make_eval_step, make_train_step
from primus_jax.training.stop import stop_signals


def pretrain(
    config: Config,
    workdir: str | Path,
    log: Callable[[str], None] = print,
    processes: Processes | None = None,
) -> TrainState:
    """Train until `config.steps`, resuming from the newest checkpoint in `workdir`.

    SIGTERM and SIGINT, to whichever process, save a checkpoint and return after the same step.

    Args:
        config: of the experiment; the same in every process.
        workdir: folder of the run; the same for every process.
        log: prints one line; only the first process says anything.
        processes: all that train together (`primus-jax pretrain` makes them); None: this one.

    Raises:
        PrimusError: invalid config or data, another run's folder, a folder that another process
            is using, or a last checkpoint that could not be saved.
        NotFinite: names the step, the windows of its batch and the last good checkpoint.
    """
    with contextlib.ExitStack() as holding:
        return _pretrain(config, workdir, log, processes or Processes(), holding)


def _pretrain(
    config: Config,
    workdir: str | Path,
    log: Callable[[str], None],
    processes: Processes,
    holding: contextlib.ExitStack,
) -> TrainState:
    if processes.count != jax.process_count():
        raise PrimusError(
            f"this is one of {jax.process_count()} processes of jax.distributed; `primus-jax "
            f"pretrain --coordinator ... --processes ... --process-id ...` trains with several."
        )
    log = log if processes.first else _log_nothing
    with processes.raise_together():
        workdir = local_path(workdir, "--workdir")
        for path in (*config.data.train, config.data.towers):
            local_path(path, "a path of config.data")
        config.validate()
        mesh = sharding.make_mesh(config.devices, config.mesh.replicas)
        sharding.check_batch(mesh, config.data.batch_size)
        folders = [DatasetFolder(path) for path in config.data.train]
        live = open_in_step_towers(config, folders)
        data = _pipeline(config, folders, live, "train", config.data.batch_size)
        validation, validation_count = _validation(config, folders, live, mesh.size)
    described = describe_data(folders)
    processes.check_consistent(start_facts(config, described, live.digests))
    lock = None
    with processes.raise_together():
        if processes.first:
            lock = holding.enter_context(hold_folder(workdir, log))
            open_run(workdir, config, described, live.digests, log)
    check_shared(workdir, processes)

    objective = config.objective.build(config.encoder, config.compute)
    optimizer = make_optimizer(config.optim, config.steps)
    fsdp, parts = config.mesh.fsdp, config.compute.micro_batches
    train_step = make_train_step(
        objective, optimizer, mesh, config.seed, live.embed, fsdp=fsdp, micro_batches=parts
    )
    eval_step = make_eval_step(objective, mesh, config.seed, live.embed, fsdp=fsdp)
    make_state = state_maker(
        objective,
        optimizer,
        config.seed,
        example_batch(folders[0].window_samples, config.data.embedding_dim),
    )
    towers = sharding.replicate(mesh, live.params)

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(stop_signals())
        checkpoints = Checkpoints(workdir / "checkpoints", config.checkpoint.keep, processes)
        stack.callback(checkpoints.close)
        abstract = abstract_state(make_state, objective, mesh, fsdp)
        state = checkpoints.restore_newest(abstract, log)
        state = init_state(make_state, abstract) if state is None else state
        start = int(state.step)
        log(
            f"{'resuming at' if start else 'starting at'} step {start} of {config.steps}, "
            f"{data.size} training windows, {mesh.size} device(s)"
            + (f" in {processes.count} processes" if processes.count > 1 else "")
        )
        metrics_log = MetricsLog(workdir, start) if processes.first else NoMetrics()
        stack.callback(metrics_log.close)
        progress = Progress(config.steps, start, config.data.batch_size, log)
        monitor = MetricsMonitor(data, metrics_log, progress, config.log_every)
        monitor.saved(start, validated=False)
        processes.where = lambda: f" at step {monitor.step}; {checkpoints.newest()}"

        damaged: list[str] = []
        batches = data.from_step(start)
        for step in range(start + 1, config.steps + 1):
            batch = sharding.global_batch(mesh, next(batches))
            state, metrics = train_step(
                state, towers, batch, sharding.stop_flags(mesh, stop.is_set)
            )
            monitor.add(step, metrics)
            scheduled = step % config.checkpoint.every == 0 or step == config.steps
            if not (scheduled or monitor.stop):
                continue
            monitor.catch_up()
            loss = None
            if scheduled and validation is not None:
                loss = _validate(eval_step, state, towers, validation, validation_count, mesh)
                monitor.validated(step, loss)
            if config.data.skip_damaged:
                damaged = _log_damaged(damaged, processes.exchange(data.damaged()), log)
            if failed := checkpoints.wait_until_saved():
                monitor.not_saved(failed.step)
                log(f"warning: {failed.message} Training goes on.")
            with processes.raise_together():
                if lock is not None:
                    lock.check()
            checkpoints.save(state, loss)
            monitor.saved(step, validated=loss is not None)
            if monitor.stop and step < config.steps:
                break
        if failed := checkpoints.wait_until_saved():
            raise CommonError(f"{failed.message} Make room, and run the same command again.")
        if monitor.stop and int(state.step) < config.steps:
            _log_stopped(int(state.step), processes.exchange(stop.name), processes, log)
    return state


def _log_nothing(line: str) -> None:
    """What a process says for which the first one speaks."""


def _log_damaged(
    before: list[str], parts: list[list[str]], log: Callable[[str], None]
) -> list[str]:
    found = sorted(set().union(*parts))
    if found != before:
        log(f"warning: {len(found)} damaged record(s) skipped: {'; '.join(found)}")
    return found


def _log_stopped(
    step: int, names: list[str], processes: Processes, log: Callable[[str], None]
) -> None:
    who = next(i for i, name in enumerate(names) if name)
    on = f" to {processes.name(who)}" if processes.count > 1 else ""
    log(f"stopped by {names[who]}{on}: saved step {step}; the same command resumes it")


def _pipeline(
    config: Config, folders: list[DatasetFolder], live: InStepTowers, split: str, batch: int
) -> Pipeline:
    return Pipeline(
        folders,
        split,
        batch,
        config.seed,
        weights=config.data.weights,
        embedding_dim=config.data.embedding_dim,
        live=live.inputs,
        skip_damaged=config.data.skip_damaged,
        host=jax.process_index(),
        hosts=jax.process_count(),
    )


def _validation(config, folders, live, devices) -> tuple[Pipeline | None, int]:
    """The validation pipeline and its number of batches; none where no folder has the split."""
    windows = sum(f.splits.get("validation", 0) for f in folders)
    batch = min(config.data.batch_size, windows // devices * devices)
    if batch < 2:
        return None, 0
    count = min(windows // batch, config.data.validation_batches)
    return _pipeline(config, folders, live, "validation", batch), count


def _validate(eval_step, state, towers, validation, count, mesh) -> float:
    """Mean loss of the same batches each time; the queue is read, never written."""
    batches = zip(range(count), validation.from_step(0), strict=False)
    losses = [
        eval_step(
            state.params, state.extra, towers, sharding.global_batch(mesh, rows), np.int32(number)
        )["loss"]
        for number, rows in batches
    ]
    return float(np.mean([float(loss) for loss in losses]))
