"""Print the contents of a dataset folder: windows by split and activity, units, drops.

primus-jax info data/mine
primus-jax info data/mine --picture windows.png
primus-jax info data/mine --spectrograms spectrograms.png
"""

import argparse
from pathlib import Path

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.reports.dataset import describe_dataset


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="dataset folder")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png",
        help="draw five random windows with their sentences (and frames)",
    )
    parser.add_argument(
        "--spectrograms",
        type=Path,
        metavar="FILE.png",
        help="draw random windows of each activity as images for a vision encoder",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed for the windows of the pictures"
    )


def run(args: argparse.Namespace) -> int:
    """Print the metadata of the folders, and draw some windows."""
    folders = [DatasetFolder(path) for path in args.folders]
    for option in ("picture", "spectrograms"):
        if getattr(args, option) is not None and len(folders) > 1:
            raise PrimusError(f"--{option} shows one dataset; {len(folders)} are given.")
    print("\n\n".join(describe_dataset(folder) for folder in folders))
    if args.picture is not None:
        from primus_jax.reports.windows import draw_windows

        draw_windows(folders[0], args.picture, args.seed)
        print(f"\n{args.picture}")
    if args.spectrograms is not None:
        from primus_jax.reports.spectrograms import draw_spectrograms

        draw_spectrograms(folders[0], args.spectrograms, args.seed)
        print(f"\n{args.spectrograms}")
    return 0
