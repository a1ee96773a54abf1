"""What a dataset folder holds: windows by split and activity, units, what was left out.

primus-jax info data/mine
primus-jax info data/mine --picture windows.png
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import StoredTokens
from primus_jax.errors import PrimusError

# Failed units that are listed by name; there can be thousands.
LISTED = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="dataset folder")
    parser.add_argument(
        "--picture",
        type=Path,
        metavar="FILE.png",
        help="draw five random windows with their sentences (and frames)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the windows in the picture")


def run(args: argparse.Namespace) -> int:
    """Print what the folder states about itself, and draw some of its windows."""
    folders = [DatasetFolder(path) for path in args.folders]
    if args.picture is not None and len(folders) > 1:
        raise PrimusError(f"--picture shows one dataset; {len(folders)} are given.")
    print("\n\n".join(describe(folder) for folder in folders))
    if args.picture is not None:
        from primus_jax.reports.windows import draw_windows

        draw_windows(folders[0], args.picture, args.seed)
        print(f"\n{args.picture}")
    return 0


def describe(folder: DatasetFolder, *, activities: bool = True) -> str:
    """The contents in a few lines; with `activities`, also windows by label and split."""
    meta = folder.metadata
    splits = list(folder.splits)
    simulated = " (SIMULATED: nothing in it was measured)" if folder.simulated else ""
    corpus = meta.corpus
    facts = {
        "windows": f"{meta.window_seconds:g} s = {folder.window_samples} samples at "
        f"{folder.rate_hz:g} Hz, every {meta.hop_seconds:g} s or around narrations",
        "channels": ", ".join(meta.channels),
        "units": f"accelerometer {meta.units['accelerometer']}; "
        f"gyroscope {meta.units['gyroscope']}",
        "source": meta.source,
        "corpus": f"{corpus.name} {corpus.version}" if corpus else "",
        "licence": meta.licence,
        "placement": "; ".join(
            f"{name or 'not stated'} {count:,}" for name, count in meta.placement.items()
        ),
        "alignment": _alignment(meta.facts.get("alignment")),
        "frames": _frames(meta.tensors),
        "tokens": _tokens(meta.tokenizer),
        "embeddings": _embeddings(folder),
        "content": folder.content_hash,
    }
    lines = [f"{folder.path}: {folder.name}{simulated}"]
    lines += [f"  {name:<10} {text}" for name, text in facts.items() if text]
    lines.append("")
    rows = [["", *splits, "total"]]
    for key, title in (
        ("windows", "windows"),
        ("recordings", "recordings"),
        ("with_text", "with a sentence"),
        ("with_text_embedding", "with text embedding"),
        ("with_video_embedding", "with video embedding"),
        ("with_frames", "with frames"),
        ("without_gyro", "without gyroscope"),
        ("unlabelled", "unlabelled"),
    ):
        values = [getattr(meta.counts[split], key) for split in splits]
        if key in ("windows", "recordings") or any(values):
            rows.append([title, *values, sum(values)])
    groups = [len(meta.groups[split]) for split in splits]
    rows.append(["groups (people...)", *groups, sum(groups)])
    if activities:
        for name in folder.label_names:
            values = [meta.counts[split].labels.get(name, 0) for split in splits]
            rows.append([f"· {name}", *values, sum(values)])
    width = max(len(row[0]) for row in rows)
    for title, *cells in rows:
        texts = (f"{c:>12,}" if isinstance(c, int) else f"{c:>12}" for c in cells)
        lines.append(f"  {title:<{width}}{''.join(texts)}")
    lines.append("")
    drops = [f"{count:,} {reason}" for reason, count in meta.drops.items()]
    lines += _list("left out", drops or ["nothing"])
    if meta.failed:
        failed = [f"{unit}: {message}" for unit, message in meta.failed.items()]
        more = len(failed) - LISTED
        lines += _list("FAILED", failed[:LISTED] + [f"and {more:,} more"] * (more > 0))
    return "\n".join(lines)


def _list(title: str, entries: list[str]) -> list[str]:
    return [f"  {title if i == 0 else '':<10} {entry}" for i, entry in enumerate(entries)]


def _alignment(takes: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Extremes over the units whose samples were put on the clock of their video."""
    used = [take for take in (takes or {}).values() if not take["refused"]]
    if not used:
        return ""
    offset, error = (
        max((take[name] for take in used), key=abs) for name in ("offset_seconds", "clock_error")
    )
    return (
        f"{len(used):,} used, {len(takes) - len(used):,} refused; largest offset {offset:.3g} s, "
        f"clock error {100 * error:.2g} %, {sum(take['gaps'] for take in used):,} gaps"
    )


def _frames(tensors: Mapping[str, tuple[int, ...]]) -> str:
    if "frames" not in tensors:
        return ""
    frames, height, width, _ = tensors["frames"]
    return f"{frames} of {width} x {height} pixels a window"


def _tokens(tokenizer: StoredTokens | None) -> str:
    if tokenizer is None:
        return "none"
    return f"{tokenizer.length} ids of {tokenizer.name} ({tokenizer.hash})"


def _embeddings(folder: DatasetFolder) -> str:
    if folder.embedding_dim is None:
        return "none"
    towers = [
        f"{modality} by {tower.name} ({tower.digest})"
        for modality, tower in folder.metadata.towers.items()
        if tower is not None
    ]
    return "; ".join([f"{folder.embedding_dim} values", *towers])
