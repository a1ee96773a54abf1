"""The whole pipeline in minutes, without a download: simulated recordings to a few-shot table.

  primus-jax demo --out demo

Simulates people, pretrains with all three losses, interrupts and resumes the run, and exports the
weights. Then evaluates few-shot on other simulated people, against a randomly initialised encoder,
and writes report.html. Everything is simulated: the scores only show that the pipeline works.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), help="the folder to make (default demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="random seed of all draws (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo")


def run(args: argparse.Namespace) -> int:
    """Make the demo in --out."""
    from primus_jax.demo.run import run_demo

    run_demo(args.out, args.seed, args.overwrite, _simulate, _print)
    return 0


def _print(line: str) -> None:
    print(line, flush=True)


def _simulate(folder: Path, seed: int, people: int, fractions: tuple[float, float, float]) -> Path:
    from data_prep.dataset.origin import Origin
    from data_prep.dataset.recipe import Recipe
    from data_prep.dataset.splits import Splits
    from data_prep.dataset.write import write_dataset
    from data_prep.simulated import simulate

    written = write_dataset(
        simulate.recordings(seed=seed, people=people),
        folder,
        Origin(simulate.SOURCE, simulate.LICENCE, simulated=True),
        Recipe(splits=Splits(fractions, seed=seed)),
    )
    counts = ", ".join(f"{n:,} {split}" for split, n in written.splits.items())
    _print(f"     {folder.name}: {people} people, {counts} windows")
    return folder
