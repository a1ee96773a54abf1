"""A classifier and a new recording -> a CSV of times and labels, and a plot of the timeline.

primus-jax predict monday.csv --classifier mine --out monday

Columns, units and clock are those that the classifier was adapted with; an option replaces one of
them. A gyroscope that the classifier needs and the file lacks is an error.

The recording is read in pieces, so a day takes no more memory than a minute. Gaps in the recording
get no label.
"""

import argparse
from pathlib import Path

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.source_options import add_sources, read_sources
from primus_jax.commands.table_options import add_table_format
from primus_jax.errors import PrimusError

FILES = ("predictions.csv", "timeline.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_sources(parser, "FILE", "one recording")
    parser.add_argument(
        "--classifier",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder that `adapt` or `finetune` wrote",
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument("--hop", type=float, default=1.0, help="seconds (default %(default)s)")
    add_table_format(parser.add_argument_group("columns"), remembered="the classifier")


def run(args: argparse.Namespace) -> int:
    """Predict, write, and print the time of each label."""
    with printed_warnings():
        _predict(args)
    return 0


def _predict(args: argparse.Namespace) -> None:
    from primus_jax.classify.classifier import load_classifier
    from primus_jax.classify.pictures import plot_timeline
    from primus_jax.classify.predict import predict
    from primus_jax.files import new_folder
    from primus_jax.recordings.sources import files_of

    classifier, encoder = load_classifier(args.classifier)
    with new_folder(args.out, overwrite=args.overwrite, own=FILES) as folder:
        sources, layout = read_sources(args, classifier.layout)
        if len(sources) != 1:
            raise PrimusError(
                f"{len(sources)} recordings ({sources[0]}, {sources[1]}...); expected one. Run the "
                f"command once for each."
            )
        found = predict(classifier, encoder, sources[0], layout, args.hop)
        found.write_csv(folder / FILES[0])
        plot_timeline(found, folder / FILES[1], files_of(sources[0])[0].name)
    report = found.report
    print(
        f"{sources[0]}: {report.seconds:,.1f} s at {report.rate_hz:g} Hz, {report.windows:,} "
        f"windows of {found.window_seconds:g} s"
    )
    if report.problems():
        print(f"  {report.problems()}")
    times = found.time_per_label()
    width, total = max(map(len, times)), sum(times.values())
    for name, seconds in times.items():
        print(f"  {name:<{width}} {seconds:>10,.1f} s {100 * seconds / total:>5.1f} %")
    print(f"\n{args.out}: {', '.join(FILES)}")
