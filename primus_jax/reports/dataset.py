"""The contents of a dataset folder in words: facts, windows by split, what was left out."""

from collections.abc import Mapping
from typing import Any

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import StoredTokens

# Failed units that are listed by name; there can be thousands.
LISTED = 20
# Entry of the folder's counts -> its title; the first two are listed even where all are 0.
COUNTS = {
    "windows": "windows",
    "recordings": "recordings",
    "with_text": "with a sentence",
    "with_text_embedding": "with text embedding",
    "with_video_embedding": "with video embedding",
    "with_frames": "with frames",
    "without_gyro": "without gyroscope",
    "unlabelled": "unlabelled",
}
ALWAYS = ("windows", "recordings")


def describe_dataset(folder: DatasetFolder, *, activities: bool = True) -> str:
    """The contents in a few lines; with `activities`, also windows by label and split."""
    simulated = " (SIMULATED: nothing in it was measured)" if folder.simulated else ""
    drops = [f"{count:,} {reason}" for reason, count in folder.metadata.drops.items()]
    lines = [
        f"{folder.path}: {folder.name}{simulated}",
        *(f"  {name:<10} {text}" for name, text in _facts(folder).items() if text),
        "",
        *_count_lines(folder, activities),
        "",
        *_entries("left out", drops or ["nothing"]),
    ]
    if folder.metadata.failed:
        failed = [f"{unit}: {message}" for unit, message in folder.metadata.failed.items()]
        if len(failed) > LISTED:
            failed = [*failed[:LISTED], f"and {len(failed) - LISTED:,} more"]
        lines += _entries("FAILED", failed)
    return "\n".join(lines)


def _facts(folder: DatasetFolder) -> dict[str, str]:
    """Title -> text; empty where there is nothing to state."""
    meta = folder.metadata
    corpus, units = meta.corpus, meta.units
    return {
        "windows": f"{meta.window_seconds:g} s = {folder.window_samples} samples at "
        f"{folder.rate_hz:g} Hz, every {meta.hop_seconds:g} s or around narrations",
        "channels": ", ".join(meta.channels),
        "units": f"accelerometer {units['accelerometer']}; gyroscope {units['gyroscope']}",
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
        "targets": ", ".join(folder.target_names),
        "content": folder.content_hash,
    }


def _count_lines(folder: DatasetFolder, activities: bool) -> list[str]:
    """Windows, recordings, groups and labels by split, and their totals."""
    splits, counts = list(folder.splits), folder.metadata.counts
    rows: list[tuple[str, list[int]]] = []
    for key, title in COUNTS.items():
        values = [getattr(counts[split], key) for split in splits]
        if key in ALWAYS or any(values):
            rows.append((title, values))
    groups = [len(folder.metadata.groups[split]) for split in splits]
    rows.append(("groups (people...)", groups))
    if activities:
        for name in folder.label_names:
            values = [counts[split].labels.get(name, 0) for split in splits]
            rows.append((f"· {name}", values))
    width = max(len(title) for title, _ in rows)
    header = "".join(f"{name:>12}" for name in (*splits, "total"))
    lines = [f"  {'':<{width}}{header}"]
    for title, values in rows:
        cells = "".join(f"{value:>12,}" for value in (*values, sum(values)))
        lines.append(f"  {title:<{width}}{cells}")
    return lines


def _entries(title: str, entries: list[str]) -> list[str]:
    """One line per entry, the title before the first."""
    return [f"  {title if i == 0 else '':<10} {entry}" for i, entry in enumerate(entries)]


def _alignment(takes: Mapping[str, Mapping[str, Any]] | None) -> str:
    """Extremes over the units whose samples were put on the clock of their video."""
    takes = takes or {}
    used = [take for take in takes.values() if not take["refused"]]
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
