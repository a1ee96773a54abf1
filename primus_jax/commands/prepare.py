"""Recordings -> a dataset folder of windows.

primus-jax prepare pack recordings.npz --out data/mine --embeddings embeddings.npz
primus-jax prepare table walk.csv sit.csv --out data/mine --rate 100 --acc-unit g --gyro-unit deg/s
primus-jax prepare simulated --out data/simulated
primus-jax prepare usc_had --raw USC-HAD --out data/usc_had

primus-jax prepare ego4d --raw DIR --out data/ego4d --workers 16

A dataset folder appears only when it is complete. Dropped windows and rows are counted by reason
and printed. The exit status is 3 if some units of a corpus (a video, a take) failed and the others
were written.
"""

import argparse
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.dataset.origin import Origin
from data_prep.har import SOURCES
from data_prep.har.source import Source
from primus_jax.commands.console import printed_warnings
from primus_jax.commands.prepare_corpus import add_corpora
from primus_jax.commands.prepare_images import add_images
from primus_jax.commands.prepare_options import add_common, recipe, splits
from primus_jax.commands.source_options import (
    add_intervals,
    add_naming,
    add_sources,
    intervals,
    naming,
    print_done,
    read_sources,
)
from primus_jax.commands.table_options import add_names, add_table_format
from primus_jax.reports.dataset import describe_dataset

if TYPE_CHECKING:
    from primus_jax.data.embeddings import Embeddings
    from primus_jax.data.folder import DatasetFolder

SOME_FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    pack = kinds.add_parser("pack", help="packed recordings (.npz)", description=_pack.__doc__)
    pack.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
    pack.add_argument(
        "--gait",
        nargs=2,
        default=[],
        metavar=("LEFT", "RIGHT"),
        help="placements on the feet: the times of their strides become targets for `regress`",
    )
    pack.set_defaults(prepare=_pack)

    table = kinds.add_parser(
        "table", help="your own CSV or Parquet files", description=_table.__doc__
    )
    add_sources(table, "FILE")
    add_naming(table)
    add_intervals(table)
    add_table_format(table)
    add_names(table, "recording", "label", "text", "subject")
    table.add_argument(
        "--target-column",
        action="append",
        default=[],
        metavar="NAME",
        help="column of numbers for `regress` to predict; repeat it for more. A window gets the "
        "mean of the values in it",
    )
    table.add_argument(
        "--narrations",
        type=Path,
        help="CSV with recording, seconds (after the first sample), text: a window is centred on "
        "each",
    )
    table.add_argument(
        "--source",
        default="a user's own recordings",
        help="where the recordings come from, in words",
    )
    table.add_argument("--licence", default="not stated")
    table.set_defaults(prepare=_table)

    simulated = kinds.add_parser(
        "simulated", help="simulated people", description=_simulated.__doc__
    )
    simulated.add_argument("--people", type=int, default=24)
    simulated.add_argument(
        "--bouts", type=int, default=8, help="recordings per activity and person"
    )
    simulated.set_defaults(prepare=_simulated)

    add_images(kinds)
    corpora = add_corpora(kinds)
    public = [_add_source(kinds, source) for source in SOURCES.values()]
    for kind in (pack, *public):
        kind.add_argument("--placement", nargs="+", default=[], help="keep only these placements")
        kind.add_argument("--drop-labels", nargs="+", default=[], help="leave these activities out")
    for kind in (pack, table, *public):
        kind.add_argument(
            "--embeddings",
            type=Path,
            help=".npz with text, text_embedding and PACK_video_embedding from frozen towers",
        )
    for kind in (pack, table, simulated, *corpora, *public):
        add_common(kind)


def _add_source(kinds: Any, source: Source) -> argparse.ArgumentParser:
    parser = kinds.add_parser(
        source.name,
        help=source.title,
        description=f"{source.title}. Licence: {source.licence}. To get it: {source.download}",
        epilog=f"Please cite: {source.citation}",
    )
    parser.add_argument(
        "--raw",
        type=Path,
        required=True,
        metavar="DIR",
        help=f"folder of the official files: {source.layout}",
    )
    parser.set_defaults(prepare=_public, public=source)
    return parser


def run(args: argparse.Namespace) -> int:
    """Write the dataset folder and describe it."""
    started = time.monotonic()
    with printed_warnings():
        folder = args.prepare(args)
    if args.kind != "images":
        print(describe_dataset(folder, activities=False))
    print(f"done in {time.monotonic() - started:.1f} s")
    return SOME_FAILED if folder.metadata.failed else 0


def _pack(args: argparse.Namespace) -> "DatasetFolder":
    """Packed recordings: the arrays are listed in docs/data.md."""
    from data_prep.user.packs import Packs

    embeddings = _embeddings(args)
    packs = Packs(args.files, embeddings, args.placement, args.drop_labels, args.gait)
    return _write(args, packs, Origin(packs.source, packs.licence), drops=packs.drops)


def _table(args: argparse.Namespace) -> "DatasetFolder":
    """Your own recordings, one file each, or one long file with a recording column."""
    from data_prep.user.narrations import read_narrations
    from data_prep.user.tables import Tables

    narrations = read_narrations(args.narrations) if args.narrations else None
    sources, layout = read_sources(args)
    tables = Tables(
        sources, layout, narrations, targets=list(dict.fromkeys(args.target_column)),
        naming=naming(args), intervals=intervals(args),
    )  # fmt: skip
    embeddings = _embeddings(args)
    folder = _write(
        args,
        tables,
        Origin(args.source, args.licence),
        drops=tables.drops,
        text_embeddings=embeddings.text if embeddings else None,
    )
    print_done(tables.done)
    return folder


def _simulated(args: argparse.Namespace) -> "DatasetFolder":
    """Simulated people with simulated sensors: nothing is measured, nothing is downloaded."""
    from data_prep.simulated import simulate

    recordings = simulate.recordings(
        seed=args.seed,
        people=args.people,
        bouts=args.bouts,
        seconds=args.window,
        rate_hz=args.target_rate,
    )
    return _write(args, recordings, Origin(simulate.SOURCE, simulate.LICENCE, simulated=True))


def _public(args: argparse.Namespace) -> "DatasetFolder":
    from data_prep.har.selection import Selection

    source = args.public
    selection = Selection(source, args.raw, args.placement, args.drop_labels)
    embeddings = _embeddings(args)
    return _write(
        args,
        selection,
        Origin(f"{source.title}. {source.citation}", source.licence),
        drops=selection.drops,
        text_embeddings=embeddings.text if embeddings else None,
    )


def _embeddings(args: argparse.Namespace) -> "Embeddings | None":
    from primus_jax.data.embeddings import load_embeddings

    return load_embeddings(args.embeddings) if args.embeddings else None


def _write(
    args: argparse.Namespace,
    recordings: Iterable[Any],
    origin: Origin,
    *,
    drops: Mapping[str, int] | None = None,
    text_embeddings: Mapping[str, Any] | None = None,
) -> "DatasetFolder":
    from data_prep.dataset.write import write_dataset

    public = getattr(args, "public", None)
    return write_dataset(
        recordings,
        args.out,
        origin,
        recipe(args, splits(args, public and public.official_split), text_embeddings),
        drops=drops,
        overwrite=args.overwrite,
        log=lambda line: print(line, flush=True),
    )
