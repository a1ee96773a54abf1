"""A classifier and a moment of a recording -> a picture of the evidence for its class.

primus-jax explain monday.csv --classifier mine --at 125 --out why.png

draws the window around second 125, the signal and, for a vision encoder, its spectrogram, with the
Grad-CAM map of the predicted class (or of --label). The columns, units and clock of the recording
are those that the classifier was adapted with.

primus-jax explain --data data/mine --encoder img2imu=encoders/img2imu --random-init --out grid.png

draws a test window of every class, and what each encoder finds in it. A logistic regression on the
train split stands behind each encoder.
"""

import argparse
from pathlib import Path

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.source_options import print_dialects
from primus_jax.commands.table_options import add_table_format, table_format
from primus_jax.errors import PrimusError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "recording", nargs="?", type=Path, metavar="RECORDING", help="CSV or Parquet, one recording"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the picture")
    parser.add_argument(
        "--classifier", type=Path, metavar="DIR", help="a folder that `primus-jax adapt` wrote"
    )
    parser.add_argument("--at", type=float, metavar="S", help="seconds after the first row")
    parser.add_argument("--label", help="the class to explain (default: the predicted one)")
    grid = parser.add_argument_group("a grid of classes and encoders")
    grid.add_argument("--data", type=Path, metavar="DIR", help="a labelled dataset folder")
    grid.add_argument(
        "--encoder", nargs="+", default=[], metavar="NAME=PATH", help="export folders or weights"
    )
    grid.add_argument("--random-init", action="store_true", help="add the first encoder, untrained")
    grid.add_argument("--seed", type=int, default=0, help="of the windows (default %(default)s)")
    add_table_format(parser.add_argument_group("columns"), remembered="the classifier")


def run(args: argparse.Namespace) -> int:
    """Draw one window, or the grid."""
    if (args.recording is None) == (args.data is None):
        raise PrimusError("expected a RECORDING (with --classifier and --at), or --data DIR.")
    if args.out.suffix.lower() != ".png":
        raise PrimusError(f"--out {args.out}; expected the name of a PNG file.")
    with printed_warnings():
        if args.data is not None:
            _draw_grid(args)
        else:
            _draw_window(args)
    print(f"\n{args.out}")
    return 0


def _draw_window(args: argparse.Namespace) -> None:
    from primus_jax.classify.classifier import load_classifier
    from primus_jax.classify.explain import explain_window, window_at
    from primus_jax.reports.explanation import plot_explanation

    if args.classifier is None or args.at is None:
        raise PrimusError("a recording needs --classifier DIR and --at SECONDS.")
    if args.encoder or args.random_init:
        raise PrimusError("--encoder and --random-init belong to --data; a classifier has its own.")
    classifier, encoder = load_classifier(args.classifier)
    layout = table_format(args, classifier.layout)
    print_dialects([args.recording], layout)
    start, imu = window_at(classifier, encoder, args.recording, layout, args.at)
    found, label, probability = explain_window(classifier, encoder, imu, start, args.label)
    plot_explanation(found, args.out, f"{args.recording.name}: evidence for {label!r}")
    print(f"window {found.extent[0]:.2f} to {found.extent[1]:.2f} s; evidence for {label!r}")
    width = max(map(len, classifier.labels))
    for k in probability.argsort()[::-1]:
        print(f"  {classifier.labels[k]:<{width}} {100 * probability[k]:>5.1f} %")


def _draw_grid(args: argparse.Namespace) -> None:
    from primus_jax.classify.explain import explain_classes
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import Encoder, load_encoder
    from primus_jax.evals.fewshot.methods import RANDOM, named_paths
    from primus_jax.reports.explanation import plot_grid

    if args.classifier is not None or args.at is not None or args.label is not None:
        raise PrimusError("--classifier, --at and --label belong to a RECORDING, not to --data.")
    paths = named_paths(args.encoder)
    if not paths:
        raise PrimusError("no encoder: give --encoder NAME=PATH.")
    if args.seed < 0:
        raise PrimusError(f"--seed {args.seed}; expected a whole number from 0.")
    encoders = {name: load_encoder(path) for name, path in paths.items()}
    if args.random_init:
        first = next(iter(encoders.values()))
        random = Encoder.random(first.config, args.seed, first.rate_hz, first.window_seconds)
        encoders = {RANDOM: random, **encoders}
    folder = DatasetFolder(args.data)
    rows = explain_classes(encoders, folder, args.seed, lambda line: print(line, flush=True))
    simulated = ", SIMULATED" if folder.simulated else ""
    title = f"{folder.name}{simulated}: evidence for each class (seed {args.seed})"
    plot_grid(rows, tuple(encoders), args.out, title)
