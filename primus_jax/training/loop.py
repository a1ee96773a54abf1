"""The training loop: one page, one loop, for every objective.

The step is the clock (law 2): data order, randomness, schedule and checkpoints follow from it.
"""

import contextlib
from pathlib import Path

import jax
import numpy as np

from primus_jax.config import Config
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.pipeline import Pipeline, example_batch
from primus_jax.errors import PrimusError
from primus_jax.training import sharding
from primus_jax.training.checkpoint import Checkpoints
from primus_jax.training.live import Live, open_live
from primus_jax.training.metrics import MetricsLog, Progress
from primus_jax.training.optim import make_optimizer
from primus_jax.training.run import describe_data, open_run
from primus_jax.training.state import TrainState, abstract_state, init_state, state_maker
from primus_jax.training.step import make_eval_step, make_train_step
from primus_jax.training.stop import stop_signals
from primus_jax.training.watch import Watch


def pretrain(config: Config, workdir: str | Path, say=print) -> TrainState:
    """Train until `config.steps`, resuming from the newest checkpoint in `workdir`.

    SIGTERM and SIGINT save a checkpoint and return after the step in progress.

    Raises:
        PrimusError: invalid config or data, or another run's folder.
        NotFinite: names the step, the windows of its batch and the last good checkpoint.
    """
    config.validate()
    workdir = Path(workdir)
    mesh = sharding.make_mesh(config.devices)
    if config.data.batch_size % mesh.size:
        raise PrimusError(
            f"config.data.batch_size {config.data.batch_size} does not divide among {mesh.size} "
            f"devices. Use a multiple of {mesh.size}, or --config.devices."
        )
    folders = [DatasetFolder(path) for path in config.data.train]
    live = open_live(config, folders)
    data = _pipeline(config, folders, live, "train", config.data.batch_size)
    validation, validation_count = _validation(config, folders, live, mesh.size)
    open_run(workdir, config, describe_data(folders), live.digests, say)

    objective = config.objective.build(config.encoder)
    optimizer = make_optimizer(config.optim, config.steps)
    train_step = make_train_step(objective, optimizer, mesh, config.seed, live.embed)
    eval_step = make_eval_step(objective, mesh, config.seed, live.embed)
    make_state = state_maker(
        objective,
        optimizer,
        config.seed,
        example_batch(folders[0].window_samples, config.data.embedding_dim),
    )
    towers = sharding.replicate(mesh, live.params)

    with contextlib.ExitStack() as stack:
        checkpoints = Checkpoints(workdir / "checkpoints", config.checkpoint.keep)
        stack.callback(checkpoints.close)
        state = checkpoints.restore_newest(abstract_state(make_state, mesh), say)
        state = init_state(make_state, mesh) if state is None else state
        start = int(state.step)
        say(
            f"{'resuming at' if start else 'starting at'} step {start} of {config.steps}, "
            f"{data.size} training windows, {mesh.size} device(s)"
        )
        metrics_log = MetricsLog(workdir, start)
        stack.callback(metrics_log.close)
        progress = Progress(config.steps, start, config.data.batch_size, say)
        stop = stack.enter_context(stop_signals())
        watch = Watch(data, metrics_log, progress, config.log_every)
        watch.saved(start, validated=False)

        batches = data.from_step(start)
        for step in range(start + 1, config.steps + 1):
            state, metrics = train_step(state, towers, sharding.global_batch(mesh, next(batches)))
            watch.add(step, metrics)
            scheduled = step % config.checkpoint.every == 0 or step == config.steps
            if not (scheduled or stop.is_set):
                continue
            watch.catch_up()
            loss = None
            if scheduled and validation is not None:
                loss = _validate(eval_step, state, towers, validation, validation_count, mesh)
                watch.validated(step, loss)
            checkpoints.save(state, loss)
            watch.saved(step, validated=loss is not None)
            if stop.is_set and step < config.steps:
                say(f"stopped by {stop.name}: saved step {step}; the same command resumes it")
                break
    return state


def _pipeline(
    config: Config, folders: list[DatasetFolder], live: Live, split: str, batch: int
) -> Pipeline:
    return Pipeline(
        folders,
        split,
        batch,
        config.seed,
        weights=config.data.weights,
        embedding_dim=config.data.embedding_dim,
        live=live.inputs,
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
