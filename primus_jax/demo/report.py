"""The demo's evaluation: few-shot against random initialisation, plots, and one HTML page."""

from pathlib import Path

import jax
import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.evals.features import dataset_features
from primus_jax.evals.fewshot.comparison import compare, write_comparison
from primus_jax.evals.fewshot.draws import DrawOptions
from primus_jax.numerics import unit_rows
from primus_jax.reports.html import Section, Table, write_report
from primus_jax.reports.plots import plot_embedding_map, plot_losses, plot_retrieved
from primus_jax.reports.rows import Metric
from primus_jax.reports.tables import markdown_tables, table_cells
from primus_jax.training.metrics import read_metrics

REPORTED: tuple[Metric, ...] = ("accuracy", "macro_f1")
METHOD, RANDOM = "PRIMUS", "random initialisation"


def evaluate_and_report(
    encoder_folder: Path,
    workdir: Path,
    data: Path,
    out: Path,
    shots: tuple[int, ...],
    seeds: int,
    notice: str,
) -> str:
    """Write plots, results.jsonl and report.html into `out`; returns the table as text."""
    encoder, folder = load_encoder(encoder_folder), DatasetFolder(data)
    untrained = [
        Encoder.random(encoder.config, seed, encoder.rate_hz, encoder.window_seconds)
        for seed in range(3)
    ]
    rows = compare({METHOD: [encoder], RANDOM: untrained}, [folder], DrawOptions(shots, seeds))
    out.mkdir(parents=True)
    write_comparison(rows, out)
    plot_losses(read_metrics(workdir), out / "losses.png", "Pretraining on simulated people")
    maps = []
    for name, model in ((METHOD, encoder), (RANDOM, untrained[0])):
        features = dataset_features(model, folder)
        maps.append(out / f"map_{'pretrained' if name == METHOD else 'random'}.png")
        title = f"{name}: embeddings of people never seen in pretraining (simulated)"
        plot_embedding_map(
            features.embedding, features.label, features.label_names, maps[-1], title
        )
    _plot_retrieved(encoder, folder, out / "retrieved.png")
    tables = [
        Table(*table_cells(rows, rows[0]["dataset"], metric), caption=f"{metric}, per cent")
        for metric in REPORTED
    ]
    parameters = sum(leaf.size for leaf in jax.tree.leaves(encoder.params))
    write_report(
        out / "report.html",
        "primus-jax demo",
        f"An encoder of {parameters:,} parameters was pretrained on "
        f"simulated recordings with the self-supervised, the multimodal and the "
        f"nearest-neighbour loss, stopped by SIGTERM halfway, resumed, exported and evaluated.",
        [
            Section(
                "Few labelled windows",
                "Logistic regression on frozen embeddings. Each seed holds out a quarter of the "
                "people and draws its own labelled windows from the others; ± is the standard "
                "error over seeds. Random initialisation is the mean of three initialisations of "
                "the same architecture.",
                tables,
                unscaled=[out / "confusion.png"],
                images=[out / "curves.png"],
            ),
            Section("Loss terms", images=[out / "losses.png"]),
            Section(
                "The embedding, coloured by activity",
                "A t-SNE map before any label was used: what pretraining added is the difference "
                "between the two.",
                images=maps,
            ),
            Section(
                "Windows and the sentences nearest to them",
                "The multimodal head's embedding of a window, compared with the embeddings of all "
                "sentences of the evaluation dataset. The text tower is a stand-in for CLIP: "
                "hashed words, no trained weights.",
                images=[out / "retrieved.png"],
            ),
        ],
        notice,
    )
    return markdown_tables(rows)


def _plot_retrieved(encoder: Encoder, folder: DatasetFolder, path: Path, count: int = 4) -> None:
    """A window of each of `count` activities, and the three sentences of largest cosine."""
    source = folder.source("train")
    examples = [source[i] for i in range(len(source))]
    sentences, first = np.unique([e["text"] for e in examples], return_index=True)
    texts = np.stack([examples[i]["text_embedding"] for i in first]).astype(np.float32)
    labels = np.array([e["label"] for e in examples])
    chosen = [
        int(np.flatnonzero(labels == label)[0])
        for label in np.linspace(0, labels.max(), count).round().astype(int)
    ]
    imu = np.stack([examples[i]["imu"] for i in chosen])
    cosine = unit_rows(encoder.encode_windows(imu, head="mmcl")) @ texts.T
    best = np.argsort(-cosine, axis=1)[:, :3]
    plot_retrieved(
        imu,
        folder.rate_hz,
        [examples[i]["text"] for i in chosen],
        [
            [(str(sentences[j]), float(cosine[row, j])) for j in columns]
            for row, columns in enumerate(best)
        ],
        path,
        "Simulated windows and the sentences nearest to them",
    )
