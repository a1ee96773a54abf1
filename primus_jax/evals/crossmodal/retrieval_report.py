"""Retrieval on a dataset folder as rows, text and a figure."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.inputs import Inputs
from primus_jax.evals.crossmodal.paired import TARGETS, PairedWindows
from primus_jax.evals.crossmodal.pools import DRAWS, RULES, pooled_retrieval, pooled_table
from primus_jax.evals.crossmodal.retrieval import (
    Retrieval,
    RetrievalRow,
    plot_retrieval,
    retrieval_table,
    retrieve,
)
from primus_jax.reports.rows import write_rows

FILES = ("results.jsonl", "table.md", "recall.png")


@dataclasses.dataclass(frozen=True)
class RetrievalReport:
    """The results (of repeated draws, their means), their rows of results.jsonl, and table.md."""

    title: str
    results: list[Retrieval]
    rows: list[RetrievalRow]
    text: str

    def write(self, folder: Path) -> None:
        """Write `FILES` into an existing folder."""
        write_rows(folder / FILES[0], self.rows)
        (folder / FILES[1]).write_text(self.text, encoding="utf-8")
        plot_retrieval(self.results, folder / FILES[2], self.title)


def retrieval_report(
    inputs: Inputs,
    targets: Sequence[str] | None = None,
    *,
    equal_texts: bool = False,
    pool: int | None = None,
    seed: int = 0,
) -> RetrievalReport:
    """Evaluate retrieval beside chance.

    Args:
        inputs: encoder and dataset.
        targets: "text", "video"; None: those that the dataset stores.
        equal_texts, pool, seed: see `retrieval.retrieve`.

    Raises:
        PrimusError: the dataset stores no such embeddings, or what `retrieve` raises.
    """
    chosen, windows = _compared(inputs, targets)
    results = retrieve(windows, chosen, equal_texts=equal_texts, pool=pool, seed=seed)
    about = inputs.row()
    rows = [{**about, **result.row(), "pool_seed": seed} for result in results]
    lines = _heading(inputs, chosen, equal_texts)
    for result in results[::2]:
        target = result.direction.removeprefix("imu->")
        lines.append(
            f"- {target}: {result.pool:,} windows ask among as many, with {result.distinct:,} "
            f"different {target} embeddings; {result.left_out:,} windows of the split have none."
        )
    text = "\n".join([*lines, "", retrieval_table(rows)]) + "\n"
    return RetrievalReport(inputs.title, results, rows, text)


def pooled_report(
    inputs: Inputs,
    targets: Sequence[str] | None = None,
    *,
    equal_texts: bool = False,
    seed: int = 0,
) -> RetrievalReport:
    """Evaluate retrieval in the pools of `pools.RULES`, beside chance.

    Args:
        inputs: encoder and dataset.
        targets: "text", "video"; None: those that the dataset stores.
        equal_texts, seed: see `pools.pooled_retrieval`.

    Raises:
        PrimusError: the dataset stores no such embeddings, or what `pooled_retrieval` raises.
    """
    chosen, windows = _compared(inputs, targets)
    found, missing = pooled_retrieval(
        windows, chosen, equal_texts=equal_texts, seed=seed, rules=RULES
    )
    about = inputs.row()
    rows = [{**about, **result.row()} for result in found]
    lines = _heading(inputs, chosen, equal_texts)
    lines.append(
        f"Every pool is drawn {DRAWS} times, seeds {seed} to {seed + DRAWS - 1}; in brackets "
        f"Student's 95 % interval over the draws, which covers the choice of candidates alone."
    )
    for result in found[::2]:
        target, rule = result.draws[0].direction.removeprefix("imu->"), result.rule
        if rule.per_recording:
            more = "" if result.per_recording <= rule.per_recording else (
                f", more than the protocol's {rule.per_recording}: the recordings are too few"
            )  # fmt: skip
            lines.append(
                f"- {target}, pool of {rule.size:,}: at most {result.per_recording} windows of "
                f"one recording{more}."
            )
    lines += [f"- {sentence}" for sentence in missing]
    text = "\n".join([*lines, "", pooled_table(rows)]) + "\n"
    return RetrievalReport(inputs.title, [result.mean() for result in found], rows, text)


def _compared(inputs: Inputs, targets: Sequence[str] | None) -> tuple[list[str], PairedWindows]:
    """The targets to compare with, and the windows embedded beside them."""
    folder = inputs.folder
    stored = [name for name in TARGETS if f"{name}_embedding" in folder.metadata.tensors]
    chosen = list(targets or stored)
    missing = [name for name in chosen if name not in stored]
    dim = folder.embedding_dim
    if missing or dim is None:
        raise PrimusError(
            f"{folder.path} stores no {' or '.join(missing or TARGETS)} embeddings. Prepare it "
            f"again with `primus-jax prepare ... --embeddings FILE.npz`."
        )
    where = f"the stored embeddings of {folder.path}"
    return chosen, inputs.windows(dim, where)


def _heading(inputs: Inputs, targets: Sequence[str], equal_texts: bool) -> list[str]:
    rule = "equal sentences are right" if equal_texts else "only its own window is right"
    return [
        f"## {inputs.title}",
        f"Encoder {inputs.path}, head {inputs.head}; cosine; {rule}.",
        *inputs.training_notes(targets),
    ]
