"""A recording -> bouts of activity over time, a timeline, and a summary in words.

primus-jax summarise monday.csv --classifier mine --acc-unit g --gyro-unit deg/s --out monday
primus-jax summarise monday.csv --encoder encoder --prompts prompts.json --towers clip --out monday

A classifier is a folder of `primus-jax adapt`. prompts.json is {class: [sentence, ...]}; the
sentences' embeddings come from --embeddings FILE.npz or --towers DIR. The words are made from the
bouts alone, and need nothing else. --llm URL --model NAME asks an OpenAI-compatible endpoint for
summary_llm.md too; it is sent the bouts, never the signal. Its key is the environment variable
PRIMUS_LLM_KEY. If the endpoint fails, the other files stay, and the exit status is 3.

primus-jax summarise data/mine --encoder encoder --pairs --out pairs

writes (embedding, sentence) pairs of a dataset folder, to fine-tune a text model on. Of a
recording, --pairs takes --narrations FILE.csv with recording, seconds, text. docs/summary.md has
the formats.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.table_options import add_table_format, table_format
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from primus_jax.classify.classifier import Classifier
    from primus_jax.encoder import Encoder
    from primus_jax.summary.activity import Activity
    from primus_jax.summary.endpoint import Endpoint
    from primus_jax.summary.pairs import PairSource

BOUTS, TEXT, MARKDOWN, PICTURE = "bouts.csv", "summary.txt", "summary.md", "timeline.png"
WINDOWS = "predictions.csv"
ASKED, PAIRS = "summary_llm.md", "pairs"
FILES = (BOUTS, TEXT, MARKDOWN, PICTURE, WINDOWS)
NO_ANSWER = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "recording", type=Path, metavar="RECORDING",
        help="CSV or Parquet, one recording; for --pairs also a dataset folder",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument(
        "--encoder", type=Path, metavar="PATH", help="export folder (a classifier has its own)"
    )
    labels = parser.add_argument_group("labels")
    chosen = labels.add_mutually_exclusive_group()
    chosen.add_argument(
        "--classifier", type=Path, metavar="DIR", help="a folder that `adapt` or `finetune` wrote"
    )
    chosen.add_argument("--prompts", type=Path, metavar="FILE.json", help="sentences of each class")
    labels.add_argument(
        "--embeddings", type=Path, metavar="FILE.npz", help="text and text_embedding, for --prompts"
    )
    labels.add_argument("--towers", type=Path, metavar="DIR", help="text tower, for --prompts")
    labels.add_argument(
        "--tokenizer", type=Path, metavar="PATH", help="its vocabulary (default: in --towers)"
    )
    labels.add_argument(
        "--temperature", type=float, default=0.1, help="divides cosines (default %(default)s)"
    )
    bouts = parser.add_argument_group("bouts")
    bouts.add_argument("--hop", type=float, default=1.0, help="seconds (default %(default)s)")
    bouts.add_argument(
        "--enter", type=float, default=0.6, metavar="P",
        help="a bout begins at this probability (default %(default)s)",
    )  # fmt: skip
    bouts.add_argument(
        "--stay", type=float, default=0.4, metavar="P",
        help="and lasts while the label keeps this (default %(default)s)",
    )  # fmt: skip
    bouts.add_argument(
        "--min-seconds", type=float, default=10.0, metavar="S",
        help="shorter bouts join their longer neighbour (default %(default)s)",
    )  # fmt: skip
    model = parser.add_argument_group("language model")
    model.add_argument(
        "--llm", metavar="URL", help="endpoint with /chat/completions, as http://localhost:8000/v1"
    )
    model.add_argument("--model", default="", metavar="NAME", help="its name for the endpoint")
    model.add_argument(
        "--llm-timeout", type=float, default=60.0, metavar="S",
        help="of each of three tries (default %(default)s)",
    )  # fmt: skip
    model.add_argument(
        "--llm-tokens", type=int, default=4000, metavar="N",
        help="of the prompt, a day is cut to it (default %(default)s)",
    )  # fmt: skip
    pairs = parser.add_argument_group("pairs of embedding and sentence")
    pairs.add_argument("--pairs", action="store_true", help=f"write the folder {PAIRS} too")
    pairs.add_argument(
        "--narrations", type=Path, metavar="FILE.csv", help="recording, seconds, text"
    )
    pairs.add_argument(
        "--head", choices=("emb", "mmcl", "ssl"),
        help="output of the encoder (default: mmcl if the encoder has one, else emb)",
    )  # fmt: skip
    add_table_format(parser.add_argument_group("columns"))


def run(args: argparse.Namespace) -> int:
    """Summarise, write, and print the summary; or write pairs of a dataset folder."""
    with printed_warnings():
        if args.recording.is_dir():
            return _pairs_of_dataset(args)
        return _summarise(args)


def _summarise(args: argparse.Namespace) -> int:
    from primus_jax.files import new_folder, replace_file
    from primus_jax.summary.bouts import write_bouts
    from primus_jax.summary.endpoint import ask, read_key
    from primus_jax.summary.pairs import write_pairs
    from primus_jax.summary.pictures import plot_bouts
    from primus_jax.summary.prompt import messages
    from primus_jax.summary.words import summary_markdown, summary_text

    _check(args)
    endpoint = _endpoint(args)
    key = "" if endpoint is None else read_key(endpoint)
    with new_folder(args.out, overwrite=args.overwrite, own=(*FILES, ASKED, PAIRS)) as folder:
        activity, encoder = _activity(args)
        write_bouts(activity.bouts, folder / BOUTS)
        text = summary_text(activity)
        (folder / TEXT).write_text(text, encoding="utf-8")
        (folder / MARKDOWN).write_text(summary_markdown(activity), encoding="utf-8")
        plot_bouts(activity, folder / PICTURE)
        activity.prediction.write_csv(folder / WINDOWS)
        if args.pairs:
            (folder / PAIRS).mkdir()
            source, head = _recording_pairs(args, encoder)
            _print_pairs(write_pairs(source, encoder, head, folder / PAIRS))
    print(text, end="")
    written = [*FILES, *([PAIRS] if args.pairs else [])]
    status = 0
    if endpoint is not None:
        try:
            answer = ask(endpoint, messages(activity, endpoint.tokens), key)
        except PrimusError as error:
            print(f"warning: no {ASKED}: {error} {TEXT} is complete.", file=sys.stderr)
            status = NO_ANSWER
        else:
            about = f"Written by {endpoint.model} from {BOUTS}; not checked against it."
            with replace_file(args.out / ASKED) as temporary:
                temporary.write_text(f"{about}\n\n{answer}", encoding="utf-8")
            written.append(ASKED)
    print(f"\n{args.out}: {', '.join(written)}")
    return status


def _check(args: argparse.Namespace) -> None:
    """Raise PrimusError for options that do not go together, before a long file is read."""
    if args.classifier is None and args.prompts is None:
        raise PrimusError(
            "neither --classifier nor --prompts; expected one of them, for the labels."
        )
    if args.prompts is not None and args.encoder is None:
        raise PrimusError("--prompts needs --encoder, an encoder that was pretrained with text.")
    if args.pairs and args.narrations is None:
        raise PrimusError("--pairs of a recording needs --narrations FILE.csv, its sentences.")
    if args.narrations is not None and not args.pairs:
        raise PrimusError("--narrations is read for --pairs only; give --pairs too.")


def _endpoint(args: argparse.Namespace) -> "Endpoint | None":
    from primus_jax.summary.endpoint import Endpoint

    if args.llm is None:
        if args.model:
            raise PrimusError("--model without --llm; give the address of the endpoint too.")
        return None
    return Endpoint(args.llm, args.model, args.llm_timeout, args.llm_tokens)


def _activity(args: argparse.Namespace) -> "tuple[Activity, Encoder]":
    """The activity of the recording, and the encoder that embedded it."""
    from primus_jax.summary.activity import find_activity
    from primus_jax.summary.bouts import BoutRule

    rule = BoutRule(args.enter, args.stay, args.min_seconds)
    layout = table_format(args)
    classifier, encoder, source = _labels(args, gyro=bool(layout.gyro))
    activity = find_activity(
        classifier,
        encoder,
        args.recording,
        layout,
        name=args.recording.name,
        source=source,
        hop_seconds=args.hop,
        rule=rule,
    )
    return activity, encoder


def _labels(args: argparse.Namespace, gyro: bool) -> "tuple[Classifier, Encoder, str]":
    """What gives windows their labels, its encoder, and a sentence on where the labels come from.

    Raises:
        PrimusError: an --encoder that is not the classifier's.
    """
    from primus_jax.classify.classifier import load_classifier
    from primus_jax.encoder import load_encoder
    from primus_jax.evals.identity import encoder_hash
    from primus_jax.summary import activity

    if args.prompts is not None:
        encoder = load_encoder(args.encoder)
        prompts = activity.embedded_prompts(
            args.prompts, args.embeddings, args.towers, args.tokenizer
        )
        found = activity.prompt_classifier(encoder, prompts, gyro, args.temperature)
        return found, encoder, activity.prompt_source(prompts, args.temperature)
    classifier, encoder = load_classifier(args.classifier)
    if args.encoder is not None and encoder_hash(load_encoder(args.encoder)) != encoder_hash(
        encoder
    ):
        raise PrimusError(
            f"{args.encoder} is not the encoder that {args.classifier} was adapted with. Leave "
            f"--encoder out, or adapt again."
        )
    return classifier, encoder, activity.classifier_source(classifier)


def _recording_pairs(args: argparse.Namespace, encoder: "Encoder") -> "tuple[PairSource, str]":
    """The pairs of a recording and its narrations, and the head that embeds it."""
    from data_prep.user.narrations import read_narrations
    from primus_jax.summary.pairs import recording_pairs

    found = read_narrations(args.narrations)
    name = args.recording.stem
    if name not in found:
        raise PrimusError(
            f"{args.narrations}: no narration of the recording {name!r}; it has those of "
            f"{', '.join(map(repr, list(found)[:5]))}."
        )
    head = _head(args, encoder)
    source = recording_pairs(
        encoder, head, args.recording, table_format(args), found[name],
        name=name, hop_seconds=args.hop,
    )  # fmt: skip
    return source, head


def _pairs_of_dataset(args: argparse.Namespace) -> int:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import load_encoder
    from primus_jax.files import new_folder
    from primus_jax.summary import pairs

    if not args.pairs:
        raise PrimusError(
            f"{args.recording} is a folder; a summary is of one recording, a CSV or Parquet file. "
            f"--pairs writes the pairs of a dataset folder."
        )
    for option in ("classifier", "prompts", "llm", "narrations"):
        if getattr(args, option) is not None:
            raise PrimusError(f"--{option} is for a recording; {args.recording} is a folder.")
    if args.encoder is None:
        raise PrimusError("--pairs of a dataset folder needs --encoder.")
    own = (pairs.DESCRIPTION, pairs.ROWS, pairs.EMBEDDINGS)
    with new_folder(args.out, overwrite=args.overwrite, own=own) as folder:
        encoder = load_encoder(args.encoder)
        head = _head(args, encoder)
        source = pairs.dataset_pairs(encoder, head, DatasetFolder(args.recording))
        _print_pairs(pairs.write_pairs(source, encoder, head, folder))
    print(f"\n{args.out}: {', '.join(own)}")
    return 0


def _head(args: argparse.Namespace, encoder: "Encoder") -> str:
    from primus_jax.models.heads import cross_modal_head

    return args.head or cross_modal_head(encoder.config.heads, encoder.metadata).name


def _print_pairs(description: dict) -> None:
    left_out = "; ".join(f"{count:,} {why}" for why, count in description["left_out"].items())
    count = "1 pair" if description["pairs"] == 1 else f"{description['pairs']:,} pairs"
    print(
        f"{count} of an embedding of {description['dim']} values and a "
        f"sentence{f'; left out: {left_out}' if left_out else ''}"
    )
