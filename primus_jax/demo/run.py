"""The whole path on simulated people: pretrain, interrupt, resume, export, evaluate, report."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from primus_jax.demo import config
from primus_jax.demo.report import evaluate_and_report
from primus_jax.errors import PrimusError
from primus_jax.export.run import export
from primus_jax.training.stop import EXIT_INTERRUPTED

SHOTS = (1, 5, 10)
SEEDS = 5
NOTICE = (
    "Everything on this page is simulated: people, sensors, sentences and videos. The numbers show "
    "that the path works from recordings to a few-shot table; they state nothing about real people."
)
PARTS = ("data", "run", "encoder", "report")
# (folder, seed, people, fractions of train, validation and test) -> the folder.
Simulate = Callable[[Path, int, int, tuple[float, float, float]], Path]
Log = Callable[[str], None]


def run_demo(out: Path, seed: int, overwrite: bool, simulate: Simulate, log: Log) -> None:
    """Run the five parts into the folder `out`.

    Args:
        out: the folder to make.
        seed: of everything that is drawn.
        overwrite: replace an earlier demo.
        simulate: writes a dataset folder of simulated people.
        log: takes one line.

    Raises:
        PrimusError: `out` exists, or a part of the path failed.
    """
    begin = time.monotonic()
    with _new_folder(out, overwrite) as folder:
        log("1/5  simulating people who wear a sensor (simulated: nothing here was measured)")
        data = {
            name: simulate(folder / "data" / name, drawn, people, splits)
            for name, drawn, people, splits in (
                ("pretraining", 2 * seed, 24, (0.85, 0.15, 0.0)),
                ("evaluation", 2 * seed + 1, 16, (1.0, 0.0, 0.0)),
            )
        }
        log("2/5  pretraining with all three losses; SIGTERM comes halfway")
        workdir, train = folder / "run", data["pretraining"]
        _pretrain(workdir, train, seed, log, interrupt=True)
        log("     the same command again: it resumes")
        _pretrain(workdir, train, seed, log, interrupt=False)
        log("3/5  exporting the weights with PyTorch names")
        description = export(workdir, folder / "encoder")
        log(
            f"     {description['parameters']:,} parameters of step "
            f"{description['provenance']['step']} (lowest validation loss)"
        )
        log(f"4/5  few-shot on people never seen in pretraining, {SEEDS} seeds")
        table = evaluate_and_report(
            folder / "encoder", workdir, data["evaluation"], folder / "report", SHOTS, SEEDS, NOTICE
        )
    log(f"5/5  done in {time.monotonic() - begin:.0f} s\n")
    log(table)
    log(f"report: {out / 'report' / 'report.html'}")


@contextlib.contextmanager
def _new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder that is removed if the demo fails.

    Not a temporary one that is renamed: the run remembers where its data are.
    """
    if out.exists():
        if not out.is_dir():
            raise PrimusError(f"{out} already exists and is a file. Choose another --out.")
        strangers = sorted({path.name for path in out.iterdir()} - set(PARTS))
        if strangers:
            raise PrimusError(
                f"{out} already exists and holds {strangers[0]}, which no demo wrote. Choose "
                f"another --out."
            )
        if not overwrite:
            raise PrimusError(f"{out} already exists. Choose another --out, or --overwrite.")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    try:
        yield out
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _pretrain(workdir: Path, data: Path, seed: int, log: Log, *, interrupt: bool) -> None:
    """Run `primus-jax pretrain` as its own process, and stop it halfway where asked."""
    half = f"step {config.get_config().steps // 2}/"
    command = [sys.executable, "-m", "primus_jax", "pretrain", "--config", config.__file__]
    command += ["--workdir", str(workdir), f"--config.data.train=('{data}',)"]
    command += [f"--config.seed={seed}"]
    # start_new_session: a Ctrl-C in the terminal stops the demo, which then ends the child itself
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None  # a pipe, see above
        try:
            for number, line in enumerate(process.stdout):
                if not line.startswith("step") or number % 5 == 0 or "validation" in line:
                    log(f"     {line.rstrip()}")
                if interrupt and line.startswith(half):
                    process.send_signal(signal.SIGTERM)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if code not in ((0, EXIT_INTERRUPTED) if interrupt else (0,)):
        raise PrimusError(f"pretraining ended with status {code}; its last lines are above.")
