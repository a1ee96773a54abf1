"""`primus-jax prepare images`: pictures for pretraining an image encoder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from primus_jax.data.folder import DatasetFolder


def add_images(kinds: Any) -> None:
    """Add the subcommand to the subparsers `kinds`."""
    parser = kinds.add_parser(
        "images",
        help="pictures, to pretrain an image encoder",
        description="Pictures in a tree of folders (ImageNet's layout), in tar files (WebDataset), "
        "or as bytes in Parquet (Hugging Face's layout), resized to 128 x 96. Files that are not "
        "whole pictures are counted and left out.",
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument(
        "--validation", type=float, default=0.02, help="share for validation (default 0.02)"
    )
    parser.add_argument(
        "--source", default="a user's own pictures", help="where they come from, in words"
    )
    parser.add_argument("--licence", default="not stated")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.set_defaults(prepare=_prepare)


def _prepare(args: argparse.Namespace) -> "DatasetFolder":
    from data_prep.images.write import write_image_folder

    folder = write_image_folder(
        args.sources, args.out, validation=args.validation, source=args.source,
        licence=args.licence, overwrite=args.overwrite,
    )  # fmt: skip
    counts = ", ".join(f"{count:,} {split}" for split, count in folder.splits.items())
    print(f"{args.out}: {counts} pictures of 128 x 96")
    for reason, count in folder.metadata.drops.items():
        print(f"  left out: {count:,} {reason}")
    return folder
