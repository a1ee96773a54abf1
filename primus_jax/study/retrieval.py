"""Retrieval by every method of a study: rows, and tables with seeds, intervals and pool size."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.paired import chosen_splits, paired_windows
from primus_jax.evals.crossmodal.retrieval import retrieve
from primus_jax.models.heads import cross_modal_head
from primus_jax.reports.html import Section, Table
from primus_jax.reports.markdown import markdown_table
from primus_jax.study.retrieval_figures import plot_retrieval
from primus_jax.study.retrieved import (
    KS,
    SCORES,
    RetrievedRow,
    by_pool,
    half_interval,
    table_methods,
)
from primus_jax.study.study import RANDOM, Log, Study, slug
from primus_jax.training.metrics import read_metrics
from primus_jax.window import same_rate


def check_retrieval(study: Study) -> None:
    """Raise PrimusError for datasets among which the study's methods cannot retrieve."""
    options = study.retrieval
    for path in options.data:
        folder = DatasetFolder(path)
        windows = sum(folder.splits[name] for name in chosen_splits(folder, options.split))
        if windows < max(options.pools):
            raise PrimusError(
                f"study.retrieval: a pool of {max(options.pools)} windows, but split "
                f"{options.split!r} of {path} has {windows}. Take smaller pools, or split 'all'."
            )
        if not stored_targets(options.targets, folder):
            raise PrimusError(
                f"study.retrieval: {path} stores no {' or '.join(options.targets)} embeddings. "
                f"Make them with `primus-jax embed`, or leave it out of the data."
            )


def stored_targets(targets: Sequence[str], folder: DatasetFolder) -> tuple[str, ...]:
    """Those of `targets` whose embeddings the dataset stores."""
    return tuple(name for name in targets if f"{name}_embedding" in folder.metadata.tensors)


def retrieval_rows(
    study: Study, methods: Mapping[str, Sequence[Any]], out: Path, log: Log
) -> list[RetrievedRow]:
    """What each encoder of each method retrieves; hand-crafted features have no sentences.

    Args:
        study: what is compared.
        methods: name -> encoders, of which the pretrained and the random ones take part.
        out: the study's folder, with the metrics of the runs.
        log: takes progress lines.
    """
    rows = []
    for path in study.retrieval.data:
        folder = DatasetFolder(path)
        log(f"retrieving among {folder.name}")
        for name, encoders in methods.items():
            if name not in study.methods and not name.startswith(RANDOM):
                continue
            for number, encoder in enumerate(encoders):
                if not same_rate(encoder.rate_hz, folder.rate_hz):
                    continue
                about = {"method": name, "encoder": number, "dataset": folder.name}
                if name in study.methods:
                    seed = study.pretraining_seeds[number]
                    about |= {"pretraining_seed": seed, **_gradient_share(out, name, seed)}
                rows += [about | row for row in _retrieved(study, encoder, folder)]
    return rows


def _retrieved(study: Study, encoder: Encoder, folder: DatasetFolder) -> Iterator[RetrievedRow]:
    """The rows of one encoder on one dataset."""
    options = study.retrieval
    head = cross_modal_head(encoder.config.heads, {}).name
    windows = paired_windows(encoder, folder, chosen_splits(folder, options.split), head)
    targets = stored_targets(options.targets, folder)
    for pool in options.pools:
        draws = [
            [result.row(KS) for result in retrieve(
                windows, targets, equal_texts=options.equal_texts, pool=pool, seed=seed
            )]
            for seed in range(options.pool_seeds)
        ]  # fmt: skip
        for same in zip(*draws, strict=True):
            mean = lambda rows: {name: float(np.mean([r[name] for r in rows])) for name in SCORES}  # noqa: E731
            yield {
                "direction": same[0]["direction"],
                "pool": pool,
                "pool_seeds": options.pool_seeds,
                "split": options.split,
                "equal_texts": options.equal_texts,
                "simulated": folder.simulated,
                "distinct_targets": same[0]["distinct_targets"],
                **mean(same),
                "chance": mean([row["chance"] for row in same]),
            }


def retrieval_markdown(study: Study, rows: Sequence[RetrievedRow]) -> str:
    """The whole of retrieval.md."""
    parts = [_explanation(study, rows)]
    for title, header, body in _tables(study, rows):
        parts.append(f"## {title}\n\n{markdown_table(header, body)}")
    return "\n\n".join(parts) + "\n"


def retrieval_section(study: Study, rows: Sequence[RetrievedRow], folder: Path) -> Section:
    """The same tables for the page, with the figures, which are written into `folder`."""
    return Section(
        "Retrieval",
        _explanation(study, rows),
        [Table(header, body, caption=title) for title, header, body in _tables(study, rows)],
        images=plot_retrieval(study, rows, folder),
    )


def _explanation(study: Study, rows: Sequence[RetrievedRow]) -> str:
    options = study.retrieval
    rule = "windows of one sentence are all right" if options.equal_texts else "only its own window"
    simulated = sorted({row["dataset"] for row in rows if row["simulated"]})
    count = len(study.pretraining_seeds)
    seeds = (
        "One pretraining seed"
        if count == 1
        else f"Means over {count} pretraining seeds, of which ± is half of the 95 % interval "
        f"(Student's t)"
    )
    return (
        f"R@k in per cent and mean reciprocal rank; right is: {rule}. {seeds}, and "
        f"{options.pool_seeds} draws of the pool. Gradient: of the distillation losses, in per "
        f"cent of the contrastive gradient, mean over the run."
        + (f" Simulated, not measured: {', '.join(simulated)}." if simulated else "")
    )


def _tables(
    study: Study, rows: Sequence[RetrievedRow]
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and body of each table: methods down, directions across, chance last."""
    for (dataset, pool, target), chosen in by_pool(rows).items():
        ways = list(dict.fromkeys(row["direction"] for row in chosen))
        header = ["method", "gradient"]
        header += [f"{way} {score}" for way in ways for score in (*(f"R@{k}" for k in KS), "MRR")]
        for title, methods in table_methods(study, chosen).items():
            body = [[name, _share(chosen, name), *_cells(chosen, name, ways)] for name in methods]
            by_way = {row["direction"]: row["chance"] for row in chosen}
            body.append(["chance", "", *(_number(s, by_way[w][s]) for w in ways for s in SCORES)])
            yield f"{title}: {dataset}, pool of {pool:,}, {target}", header, body


def _cells(rows: Sequence[RetrievedRow], method: str, ways: Sequence[str]) -> list[str]:
    """Mean and half interval over the encoders of a method, each direction and score."""
    cells = []
    for way in ways:
        own = [row for row in rows if (row["method"], row["direction"]) == (method, way)]
        for score in SCORES:
            values = np.array([row[score] for row in own])
            cells.append(_number(score, values.mean(), half_interval(values)) if own else "")
    return cells


def _number(score: str, value: float, half: float | None = None) -> str:
    scale, digits = (1, 3) if score == "mrr" else (100, 2)
    text = f"{scale * value:.{digits}f}"
    return text if half is None else f"{text} ± {scale * half:.{digits}f}"


def _share(rows: Sequence[RetrievedRow], method: str) -> str:
    values = [r["gradient_share"] for r in rows if r["method"] == method and "gradient_share" in r]
    return f"{100 * float(np.mean(values)):.3g}" if values else ""


def _gradient_share(out: Path, method: str, seed: int) -> dict[str, float]:
    """The mean over a run of the distillation gradients over the contrastive one, summed."""
    sums = [
        sum(value for name, value in row.items() if name.startswith("gradient_ratio_"))
        for row in read_metrics(out / "runs" / slug(method) / str(seed))
        if any(name.startswith("gradient_ratio_") for name in row)
    ]
    return {"gradient_share": float(np.mean(sums))} if sums else {}
