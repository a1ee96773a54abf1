"""Retrieval on a dataset folder as rows, text and a figure."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.inputs import Inputs
from primus_jax.evals.crossmodal.paired import TARGETS
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
    """The results, their rows of results.jsonl, and table.md."""

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
    windows = inputs.windows(dim, f"the stored embeddings of {folder.path}")
    results = retrieve(windows, chosen, equal_texts=equal_texts, pool=pool, seed=seed)
    about = inputs.row()
    rows = [{**about, **result.row(), "pool_seed": seed} for result in results]
    rule = "equal sentences are right" if equal_texts else "only its own window is right"
    lines = [
        f"## {inputs.title}",
        f"Encoder {inputs.path}, head {inputs.head}; cosine; {rule}.",
        *inputs.training_notes(chosen),
    ]
    for result in results[::2]:
        target = result.direction.removeprefix("imu->")
        lines.append(
            f"- {target}: {result.pool:,} windows ask among as many, with {result.distinct:,} "
            f"different {target} embeddings; {result.left_out:,} windows of the split have none."
        )
    text = "\n".join([*lines, "", retrieval_table(rows)]) + "\n"
    return RetrievalReport(inputs.title, results, rows, text)
