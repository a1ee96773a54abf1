"""The whole path in minutes, with nothing to download: simulated recordings to a few-shot table.

  primus-jax demo --out demo

Simulates people, pretrains with all three losses, is interrupted and resumed on the way, exports
the weights, evaluates few-shot on other simulated people against a randomly initialised encoder,
and writes report.html. Everything is simulated: the numbers show that the path works, no more.
"""

import argparse
import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.training.stop import EXIT_INTERRUPTED

SHOTS = (1, 5, 10)
SEEDS = 5
NOTICE = (
    "Everything on this page is simulated: people, sensors, sentences and videos. The numbers show "
    "that the path works from recordings to a few-shot table; they say nothing about real people."
)
PARTS = ("data", "run", "encoder", "report")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to make (demo)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")


def run(args: argparse.Namespace) -> int:
    """Run the six parts, saying what is done."""
    begin = time.monotonic()
    with _new_folder(args.out, args.overwrite) as folder:
        _say("1/5  simulating people who wear a sensor (simulated: nothing here was measured)")
        data = {
            name: _simulate(folder / "data" / name, seed, people, splits)
            for name, seed, people, splits in (
                ("pretraining", 2 * args.seed, 24, (0.85, 0.15, 0.0)),
                ("evaluation", 2 * args.seed + 1, 16, (1.0, 0.0, 0.0)),
            )
        }
        _say("2/5  pretraining with all three losses; SIGTERM comes halfway")
        workdir, train = folder / "run", data["pretraining"]
        _pretrain(workdir, train, args.seed, interrupt=True)
        _say("     the same command again: it resumes")
        _pretrain(workdir, train, args.seed, interrupt=False)
        _say("3/5  exporting the weights with PyTorch names")
        from primus_jax.commands.export import export

        description = export(workdir, folder / "encoder")
        _say(
            f"     {description['parameters']:,} parameters of step "
            f"{description['provenance']['step']} (lowest validation loss)"
        )
        _say(f"4/5  few-shot on people never seen in pretraining, {SEEDS} seeds")
        from primus_jax.evals.demo_report import evaluate_and_report

        table = evaluate_and_report(
            folder / "encoder", workdir, data["evaluation"], folder / "report", SHOTS, SEEDS, NOTICE
        )
    _say(f"5/5  done in {time.monotonic() - begin:.0f} s\n")
    _say(table)
    _say(f"report: {args.out / 'report' / 'report.html'}")
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


@contextlib.contextmanager
def _new_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """An empty folder that is removed if the demo fails.

    Not a temporary one that is renamed: the run remembers where its data are.
    """
    if out.exists():
        strangers = {path.name for path in out.iterdir()} - set(PARTS) if out.is_dir() else {out}
        if strangers or not overwrite:
            raise PrimusError(
                f"{out} already exists"
                + (
                    f" and holds {sorted(map(str, strangers))[0]}, which no demo wrote. Choose "
                    f"another --out."
                    if strangers
                    else ". Choose another --out, or --overwrite."
                )
            )
        shutil.rmtree(out)
    out.mkdir(parents=True)
    try:
        yield out
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise


def _simulate(folder: Path, seed: int, people: int, fractions: tuple[float, float, float]) -> Path:
    from data_prep.builder import write_dataset
    from data_prep.splits import Splits
    from primus_jax.data import simulate

    written = write_dataset(
        simulate.recordings(seed=seed, people=people),
        folder,
        source=simulate.SOURCE,
        licence=simulate.LICENCE,
        name=folder.name,
        splits=Splits(fractions, seed=seed),
        simulated=True,
    )
    counts = ", ".join(f"{n:,} {split}" for split, n in written.splits.items())
    _say(f"     {folder.name}: {people} people, {counts} windows")
    return folder


def _pretrain(workdir: Path, data: Path, seed: int, *, interrupt: bool) -> None:
    """Run `primus-jax pretrain` as its own process, and stop it halfway where asked."""
    import primus_jax.demo_config as config

    half = f"step {config.get_config().steps // 2}/"
    command = [sys.executable, "-m", "primus_jax", "pretrain", "--config", config.__file__]
    command += ["--workdir", str(workdir), f"--config.data.train=('{data}',)"]
    command += [f"--config.seed={seed}"]
    # start_new_session: a Ctrl-C in the terminal stops the demo, which then ends the child itself
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            for number, line in enumerate(process.stdout):
                if not line.startswith("step") or number % 5 == 0 or "validation" in line:
                    _say(f"     {line.rstrip()}")
                if interrupt and line.startswith(half):
                    process.send_signal(signal.SIGTERM)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
    if code not in ((0, EXIT_INTERRUPTED) if interrupt else (0,)):
        raise PrimusError(f"pretraining ended with status {code}; its last lines are above.")
