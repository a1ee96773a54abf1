"""Options of every kind of `primus-jax prepare`, and the objects that they describe."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    import numpy as np

    from data_prep.dataset.recipe import Recipe
    from data_prep.dataset.splits import Splits
    from primus_jax.models.clip.tokenizer import Tokenizer
    from primus_jax.recordings.windows import WindowSpec


def add_common(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the dataset."""
    group = parser.add_argument_group("dataset")
    group.add_argument("--out", type=Path, required=True, help="the folder to make")
    group.add_argument("--name", default="", help="name of the dataset (default: the folder's)")
    group.add_argument(
        "--target-rate", type=float, default=50.0, help="rate of the windows in Hz (default 50)"
    )
    group.add_argument(
        "--window", type=float, default=5.0, help="length of a window in seconds (default 5)"
    )
    group.add_argument(
        "--hop", type=float, help="seconds between windows (default: the window's length)"
    )
    group.add_argument(
        "--splits",
        nargs="+",
        default=["0.8", "0.1", "0.1"],
        metavar="SPLIT",
        help="three fractions of the windows (default 0.8 0.1 0.1); a person stays in one split. "
        "Or the word official: the published split of a corpus; for a public dataset, its authors' "
        "test people, and 0.9 0.1 of the windows of the others",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="random seed of the split (and of the simulation)"
    )
    group.add_argument(
        "--tokenizer",
        help="store 77 CLIP token ids: bpe_simple_vocab_16e6.txt.gz, a folder with vocab.json and "
        "merges.txt, or a Hugging Face name",
    )
    group.add_argument("--overwrite", action="store_true", help="replace the folder")


def window_spec(args: argparse.Namespace) -> "WindowSpec":
    """The windows that the options ask for, announced in a line.

    Raises:
        PrimusError: impossible windows.
    """
    from primus_jax.recordings.windows import WindowSpec

    hop = args.window if args.hop is None else args.hop
    frames = getattr(args, "frames", 0)
    spec = WindowSpec(args.target_rate, args.window, hop, frames, getattr(args, "frame_size", 224))
    with_frames = f", {frames} frames each" if frames else ""
    print(
        f"{args.out}: {args.window:g} s windows every {hop:g} s or around narrations at "
        f"{args.target_rate:g} Hz{with_frames}"
    )
    return spec


def tokenizer(args: argparse.Namespace) -> "Tokenizer | None":
    """The tokenizer that the options name.

    Raises:
        PrimusError: it cannot be loaded.
    """
    from primus_jax.models.clip.tokenizer import load_tokenizer

    return load_tokenizer(args.tokenizer) if args.tokenizer else None


def recipe(
    args: argparse.Namespace,
    split: "Splits | Mapping[str, str]",
    text_embeddings: "Mapping[str, np.ndarray] | None" = None,
) -> "Recipe":
    """What the options make of recordings.

    Args:
        args: of the command.
        split: that the options ask for, or `OFFICIAL`.
        text_embeddings: by sentence, for windows whose recording brings none.

    Raises:
        PrimusError: impossible windows, or a tokenizer that cannot be loaded.
    """
    from data_prep.dataset.recipe import Recipe

    return Recipe(
        spec=window_spec(args),
        splits=split,
        tokenizer=tokenizer(args),
        text_embeddings=text_embeddings or {},
        name=args.name,
    )


def splits(args: argparse.Namespace, published: Mapping[str, str] | None = None) -> "Splits":
    """The split that the options ask for.

    Args:
        args: of the command.
        published: for the word official, the split of each person.

    Raises:
        PrimusError: not three fractions that sum to 1, or no published split.
    """
    from data_prep.dataset.splits import Splits

    if args.splits == ["official"]:
        people = (published or {}).items()
        test = frozenset(person for person, split in people if split == "test")
        if not test:
            raise PrimusError(
                f"--splits official: {args.kind} has no published split by person. Give three "
                f"fractions."
            )
        return Splits((0.9, 0.1, 0.0), args.seed, test)
    try:
        train, validation, test_share = (float(value) for value in args.splits)
    except ValueError:
        raise PrimusError(
            f"--splits {' '.join(args.splits)}; expected three fractions, or the word official."
        ) from None
    return Splits((train, validation, test_share), args.seed)
