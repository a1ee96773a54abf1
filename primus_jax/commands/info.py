"""What a data set folder holds: windows by split and activity, units, what was left out."""

import argparse
from pathlib import Path

from primus_jax.data.folder import DatasetFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="data set folder")


def run(args: argparse.Namespace) -> int:
    """Print what the folder states about itself."""
    print("\n\n".join(describe(DatasetFolder(path)) for path in args.folders))
    return 0


def describe(folder: DatasetFolder, *, activities: bool = True) -> str:
    """The contents in a few lines; with `activities`, also windows by label and split."""
    meta = folder.metadata
    splits = list(folder.splits)
    counts = meta["counts"]
    simulated = " (SIMULATED: nothing in it was measured)" if folder.simulated else ""
    tokenizer = meta["tokenizer"]
    lines = [
        f"{folder.path}: {folder.name}{simulated}",
        f"  windows    {meta['window_seconds']:g} s = {folder.window_samples} samples at "
        f"{folder.rate_hz:g} Hz, every {meta['hop_seconds']:g} s",
        f"  channels   {', '.join(meta['channels'])}",
        f"  units      accelerometer {meta['units']['accelerometer']}; "
        f"gyroscope {meta['units']['gyroscope']}",
        f"  source     {meta['source']}",
        f"  licence    {meta['licence']}",
        f"  tokens     {tokenizer['name'] if tokenizer else 'none'}",
        f"  embeddings {f'{folder.embedding_dim} values' if folder.embedding_dim else 'none'}",
        f"  content    {folder.content_hash}",
        "",
    ]
    rows = [["", *splits, "total"]]
    for key, title in (
        ("windows", "windows"),
        ("recordings", "recordings"),
        ("with_text", "with a sentence"),
        ("with_text_embedding", "with text embedding"),
        ("with_video_embedding", "with video embedding"),
        ("without_gyro", "without gyroscope"),
        ("unlabelled", "unlabelled"),
    ):
        values = [counts[split][key] for split in splits]
        if key in ("windows", "recordings") or any(values):
            rows.append([title, *values, sum(values)])
    groups = [len(meta["groups"][split]) for split in splits]
    rows.append(["groups (people...)", *groups, sum(groups)])
    if activities:
        for name in folder.label_names:
            values = [counts[split]["labels"].get(name, 0) for split in splits]
            rows.append([f"· {name}", *values, sum(values)])
    width = max(len(row[0]) for row in rows)
    for title, *cells in rows:
        texts = (f"{c:>12,}" if isinstance(c, int) else f"{c:>12}" for c in cells)
        lines.append(f"  {title:<{width}}{''.join(texts)}")
    lines.append("")
    lines.append("  left out   " + (_drops(meta["drops"]) or "nothing"))
    return "\n".join(lines)


def _drops(drops: dict[str, int]) -> str:
    return "; ".join(f"{count:,} {reason}" for reason, count in drops.items())
