"""Several encoders on several datasets under one few-shot protocol, and the files about it."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.class_head import class_embeddings, folder_class_embeddings
from primus_jax.evals.features import Features, dataset_features, dataset_windows
from primus_jax.evals.fewshot.fewshot import FewShotResult, fewshot, summarize
from primus_jax.evals.fewshot.leaks import check_pretraining
from primus_jax.evals.fewshot.paper_protocol import PaperConfig, paper_fewshot
from primus_jax.evals.fewshot.probe import CLASSIFIERS
from primus_jax.evals.fewshot.sampling import choose_sides
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.provenance import provenance
from primus_jax.reports.confusion import plot_all_confusions
from primus_jax.reports.plots import plot_shots
from primus_jax.reports.tables import markdown_tables

PROTOCOLS = ("probe", "paper")
LEAKS = ("error", "report")
SCRATCH = "supervised from scratch"
PAPER = PaperConfig()
FROM_SCRATCH = PaperConfig(lr=1e-3, epochs=50)
FILES = ("results.jsonl", "table.md", "curves.png", "confusion.png")


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is fitted to the labelled windows.

    Attributes:
        name: "probe", a convex classifier on frozen features; "paper", see `paper_protocol`.
        classifier: of the probe: "logistic" or "ridge" regression.
        c: of the probe; None chooses it on people left out.
        paper: how the paper's protocol trains.
        prompts: a file of class prompts, or "folder" for the sentences stored in the dataset;
            they start the heads of encoders that were trained with sentences. None: random heads.
        finetune: the paper's protocol trains the encoder as well.
        from_scratch: `compare` adds the first encoder's architecture, trained on the labelled
            windows alone.
        scratch: how that is trained; the paper's rate is far too low for a random encoder.
    """

    name: str = "probe"
    classifier: str = "logistic"
    c: float | None = None
    paper: PaperConfig = PAPER
    prompts: str | None = None
    finetune: bool = False
    from_scratch: bool = False
    scratch: PaperConfig = FROM_SCRATCH

    def validate(self) -> None:
        """Raise PrimusError for options that contradict each other."""
        if self.name not in PROTOCOLS:
            raise PrimusError(f"protocol {self.name!r}; expected one of {PROTOCOLS}.")
        if self.name == "probe" and (self.finetune or self.prompts):
            option = "--finetune" if self.finetune else "--prompts"
            raise PrimusError(f"{option} belongs to the paper's protocol; add --protocol paper.")
        if self.name == "paper" and self.c is not None:
            raise PrimusError("--c belongs to the probe; the paper's protocol has no penalty.")
        if self.classifier not in CLASSIFIERS:
            raise PrimusError(
                f"classifier {self.classifier!r}; expected one of {tuple(CLASSIFIERS)}."
            )
        if self.name == "paper" and self.classifier != "logistic":
            raise PrimusError(
                "--classifier belongs to the probe; the paper's protocol trains a linear head."
            )
        self.paper.validate()
        self.scratch.validate()


def compare(
    methods: Mapping[str, Sequence[Encoder | HandFeatures]],
    folders: Iterable[DatasetFolder],
    *,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    people: str = "resampled",
    protocol: Protocol | None = None,
    head: str | None = None,
    leaks: str = "error",
    log: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Evaluate every method on every dataset with the same people and the same shots.

    Args:
        methods: name -> encoders; several (initialisations, pretraining seeds) are averaged.
        folders: labelled datasets.
        shots, seeds, people: see `fewshot`.
        protocol: what is fitted; None: the probe.
        head: output of the encoders; None: "mmcl" where prompts start the head, else "emb".
        leaks: "error" stops when something tested was in an encoder's pretraining; "report" only
            writes it into the rows.
        log: takes progress lines.

    Returns:
        one row per method, dataset and shot count, ready for results.jsonl.

    Raises:
        PrimusError: two datasets of one name, contradicting options, a leak, or what
            `dataset_features`, `fewshot` and `paper_fewshot` raise.
    """
    protocol = protocol or Protocol()
    protocol.validate()
    if leaks not in LEAKS:
        raise PrimusError(f"leaks={leaks!r}; expected one of {LEAKS}.")
    folders = list(folders)
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise PrimusError(f"datasets {names}: two have one name. Prepare one again with --name.")
    entries = list(methods.items())
    if protocol.from_scratch:
        trained = [e for encoders in methods.values() for e in encoders if isinstance(e, Encoder)]
        if not trained:
            raise PrimusError("from scratch: there is no encoder whose architecture to train.")
        entries.append((SCRATCH, trained[:1]))
    origin = provenance()
    rows = []
    for folder in folders:
        imu = None
        if protocol.from_scratch or protocol.finetune:
            imu = dataset_windows(folder)
        for method, encoders in entries:
            scratch = protocol.from_scratch and method == SCRATCH
            run = _Run(method, protocol, shots, seeds, people, scratch)
            outcomes = [run.evaluate(encoder, folder, imu, head, leaks) for encoder in encoders]
            checks = [outcome.check for outcome in outcomes]
            if any(check["status"] in ("leak", "not verified") for check in checks):
                for why in dict.fromkeys(c["why"] for c in checks if c["status"] != "clean"):
                    log(f"{folder.name}: {method}: leak check against pretraining: {why}")
            about = {
                "method": method,
                "dataset": folder.name,
                "simulated": folder.simulated,
                "people_known": outcomes[0].people_known,
                "head": outcomes[0].head,
                "dataset_hash": folder.content_hash,
                "encoder_hashes": [encoder_hash(encoder) for encoder in encoders],
                "encoder_config": encoder_description(encoders[0]),
                "pretraining_leaks": checks,
            }
            results = summarize([outcome.result for outcome in outcomes])
            rows += [{**about, **row, "provenance": origin} for row in results]
            count = sum(folder.splits.values())
            log(f"{folder.name}: {method}: {count} windows embedded and classified")
    return rows


@dataclasses.dataclass(frozen=True)
class _Outcome:
    result: FewShotResult
    check: dict[str, Any]
    head: str
    people_known: bool


@dataclasses.dataclass(frozen=True)
class _Run:
    """One method under one protocol; `scratch` trains its architecture from nothing."""

    method: str
    protocol: Protocol
    shots: Sequence[int]
    seeds: int | Sequence[int]
    people: str
    scratch: bool

    def evaluate(self, encoder, folder, imu, head: str | None, leaks: str) -> _Outcome:
        """One encoder on one dataset, and whether anything tested was in its pretraining."""
        language = None if self.scratch else _language(self.protocol, encoder, folder)
        head = head or ("emb" if language is None else "mmcl")
        features = dataset_features(encoder, folder, head)
        check = {"status": "untrained", "why": "from scratch"}
        with _naming(str(folder.path)):
            result = self._fitted(features, encoder, head, imu, language)
            if not self.scratch:
                tested = _tested(features, self.people, self.seeds)
                with _naming(self.method):
                    check = _pretraining_check(encoder, folder, features, tested, leaks)
        return _Outcome(result, check, head, bool((features.subject != "unknown").all()))

    def _fitted(self, features: Features, encoder, head: str, imu, language) -> FewShotResult:
        draws = {"shots": self.shots, "seeds": self.seeds, "people": self.people}
        if self.scratch:
            return paper_fewshot(
                features, **draws, config=self.protocol.scratch, encoder=encoder, head=head,
                imu=imu, from_scratch=True,
            )  # fmt: skip
        if self.protocol.name == "probe":
            return fewshot(
                features, **draws, c=self.protocol.c, classifier=self.protocol.classifier
            )
        hand = isinstance(encoder, HandFeatures)
        if hand:
            # Metres per second squared and hertz mean nothing side by side on the unit sphere.
            scale = np.maximum(features.embedding.std(0), 1e-6)
            scaled = (features.embedding - features.embedding.mean(0)) / scale
            features = dataclasses.replace(features, embedding=scaled.astype(np.float32))
        tuned = {"encoder": encoder, "imu": imu} if self.protocol.finetune and not hand else {}
        return paper_fewshot(
            features, **draws, config=self.protocol.paper, class_embedding=language, head=head,
            **tuned,
        )  # fmt: skip


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put `what` before the message of an error."""
    try:
        yield
    except PrimusError as error:
        raise PrimusError(f"{what}: {error}") from error


def _language(
    protocol: Protocol, encoder: Encoder | HandFeatures, folder: DatasetFolder
) -> np.ndarray | None:
    """Class embeddings for an encoder that was trained with sentences; None for all others."""
    if protocol.prompts is None or not isinstance(encoder, Encoder):
        return None
    objective = encoder.metadata.get("config", {}).get("objective", {})
    spoken = objective.get("multimodal") and "text" in objective.get("targets", ())
    if "mmcl" not in encoder.config.heads or not spoken:
        return None
    if protocol.prompts == "folder":
        return folder_class_embeddings(folder)
    return class_embeddings(Path(protocol.prompts), folder.label_names)


def _tested(features: Features, people: str, seeds: int | Sequence[int]) -> np.ndarray:
    """Windows that any draw tests, bool `[n]`."""
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    sides = choose_sides(people, features.label, features.group, features.split, seeds)
    return sides.test.any(0) & (features.label >= 0)


def _pretraining_check(encoder, folder, features, tested, leaks: str) -> dict[str, Any]:
    if not isinstance(encoder, Encoder):
        return {"status": "untrained", "why": "no learning"}
    try:
        return check_pretraining(encoder.metadata, folder, features, tested)
    except PrimusError as error:
        if leaks == "error":
            raise
        return {"status": "leak", "why": str(error)}


def write_comparison(rows: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Write `FILES` into an existing folder; return the table."""
    table = markdown_tables(rows)
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    (folder / FILES[0]).write_text(lines, encoding="utf-8")
    (folder / FILES[1]).write_text(table, encoding="utf-8")
    plot_shots(rows, folder / FILES[2])
    plot_all_confusions(rows, folder / FILES[3])
    return table


def encoder_description(encoder: Encoder | HandFeatures) -> dict[str, Any]:
    """What results.jsonl says about the architecture."""
    if isinstance(encoder, Encoder):
        return dataclasses.asdict(encoder.config)
    return {"hand_features": encoder.description}


def encoder_hash(encoder: Encoder | HandFeatures) -> str:
    """blake2b of the architecture, the rate and every parameter, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    config = json.dumps(encoder_description(encoder), sort_keys=True)
    digest.update(f"{config} {encoder.rate_hz}".encode())
    params = encoder.params if isinstance(encoder, Encoder) else {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
