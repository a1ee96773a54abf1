"""A recording and an encoder -> one HTML page: signal, bouts, matches, a map of the windows.

primus-jax explore monday.csv --encoder encoders/mine --classifier mine --out monday
primus-jax explore monday.csv --encoder encoders/mine --text "climbing stairs" \\
    --towers clip --out monday

The page holds everything, and needs no network. The signal keeps its peaks at every zoom. Bouts
and colours come from the classifier. A point of the map is a window: the pointer on one shows the
other.
--text needs an encoder that was pretrained with text, and its text tower.
"""

import argparse
import json
from pathlib import Path

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.source_options import add_sources, read_sources
from primus_jax.commands.table_options import add_table_format
from primus_jax.errors import PrimusError

PAGE, BOUTS, ORIGIN = "explore.html", "bouts.csv", "explore.json"
FILES = (PAGE, BOUTS, ORIGIN)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_sources(parser, "FILE", "one recording")
    parser.add_argument(
        "--encoder", type=Path, metavar="DIR", help="export folder (default: the classifier's own)"
    )
    parser.add_argument(
        "--classifier", type=Path, metavar="DIR", help="a folder that `adapt` or `finetune` wrote"
    )
    parser.add_argument("--text", nargs="+", default=[], help="sentences to look for")
    parser.add_argument("--towers", type=Path, metavar="DIR", help="text tower, for --text")
    parser.add_argument(
        "--tokenizer", type=Path, metavar="PATH", help="its vocabulary (default: in --towers)"
    )
    parser.add_argument("--top", type=int, default=5, help="matches of a sentence (default 5)")
    parser.add_argument("--hop", type=float, default=1.0, help="seconds (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    add_table_format(parser.add_argument_group("columns"), remembered="the classifier, if given")


def run(args: argparse.Namespace) -> int:
    """Read, draw, and write the folder."""
    if args.encoder is None and args.classifier is None:
        raise PrimusError("give --encoder DIR, --classifier DIR, or both.")
    if args.text and args.towers is None:
        raise PrimusError("--text needs --towers, the text tower of the encoder's pretraining.")
    with printed_warnings():
        _explore(args)
    return 0


def _explore(args: argparse.Namespace) -> None:
    from primus_jax.classify.classifier import load_classifier
    from primus_jax.classify.predict import predict
    from primus_jax.encoder import load_encoder
    from primus_jax.evals.identity import encoder_hash
    from primus_jax.explore.page import write_page
    from primus_jax.explore.reading import read
    from primus_jax.files import new_folder
    from primus_jax.provenance import provenance
    from primus_jax.recordings.search import SearchOptions, search
    from primus_jax.recordings.sentences import TextTower
    from primus_jax.recordings.sources import files_of
    from primus_jax.recordings.table_format import TableFormat
    from primus_jax.summary.bouts import BoutRule, find_bouts, write_bouts
    from primus_jax.weights.safetensors import file_digest

    classifier = own = None
    if args.classifier is not None:
        classifier, own = load_classifier(args.classifier)
    encoder = own if args.encoder is None else load_encoder(args.encoder)
    assert encoder is not None  # `run` has checked that one of the two is there
    with new_folder(args.out, overwrite=args.overwrite, own=FILES) as folder:
        known = classifier.layout if classifier else TableFormat()
        sources, layout = read_sources(args, known)
        if len(sources) != 1:
            raise PrimusError(f"{len(sources)} recordings; expected one. Run the command for each.")
        reading = read(encoder, sources[0], layout, args.hop)
        print(f"{sources[0]}: {len(reading.start_seconds):,} windows embedded", flush=True)
        prediction, bouts, matches = None, [], {}
        if classifier is not None and own is not None:
            prediction = predict(classifier, own, sources[0], layout, args.hop)
            tolerance = 1.5 / min(own.rate_hz, prediction.report.rate_hz)
            bouts = find_bouts(
                prediction.start_seconds, prediction.window_seconds, prediction.hop_seconds,
                prediction.probability, prediction.labels, BoutRule(), tolerance,
            )  # fmt: skip
            write_bouts(bouts, folder / BOUTS)
        if args.text:
            tower = TextTower(args.towers, args.tokenizer)
            options = SearchOptions(tower, top=args.top, hop_seconds=args.hop)
            matches = search(encoder, args.text, sources[0], layout, options)
        title = files_of(sources[0])[0].name
        write_page(folder / PAGE, title, reading, prediction, bouts, matches)
        origin = {
            "encoder_hash": encoder_hash(encoder),
            "recording_sha256": [file_digest(file) for file in files_of(sources[0])],
            "hop_seconds": args.hop,
            "sentences": args.text,
            "provenance": provenance(),
        }
        (folder / ORIGIN).write_text(json.dumps(origin, indent=1) + "\n", encoding="utf-8")
        size = (folder / PAGE).stat().st_size / 1e6
    print(f"{args.out}: {PAGE} ({size:.1f} MB{f', {len(bouts)} bouts' if classifier else ''})")
