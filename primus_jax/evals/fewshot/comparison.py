"""Several methods on several datasets under one few-shot protocol, and the files about them."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features, dataset_features, dataset_windows
from primus_jax.evals.fewshot.class_prompts import HeadStart, head_start
from primus_jax.evals.fewshot.draws import DrawOptions, sides_of
from primus_jax.evals.fewshot.leaks import check_pretraining
from primus_jax.evals.fewshot.paper_protocol import Finetuning, paper_fewshot
from primus_jax.evals.fewshot.probe_protocol import probe_fewshot
from primus_jax.evals.fewshot.protocol import SCRATCH, Protocol
from primus_jax.evals.fewshot.scores import FewShotResult, summarize
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.evals.identity import Method, encoder_description, encoder_hash, trained_encoder
from primus_jax.evals.resampled import ResampledEncoder
from primus_jax.provenance import provenance
from primus_jax.reports.confusion import plot_all_confusions
from primus_jax.reports.curves import plot_shots
from primus_jax.reports.rows import LeakCheck, ResultRow, Rows, write_rows
from primus_jax.reports.tables import markdown_tables

LEAKS = ("error", "report")
FILES = ("results.jsonl", "table.md", "curves.png", "confusion.png")
Altered = Callable[[np.ndarray], np.ndarray]


def compare(
    methods: Mapping[str, Sequence[Method]],
    folders: Iterable[DatasetFolder],
    draws: DrawOptions | None = None,
    *,
    protocol: Protocol | None = None,
    head: str | None = None,
    leaks: str = "error",
    altered: Altered | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> list[ResultRow]:
    """Evaluate every method on every dataset with the same people and the same shots.

    Args:
        methods: name -> encoders; several (initialisations, pretraining seeds) are averaged.
        folders: labelled datasets.
        draws: shots, seeds and people; None: the defaults.
        protocol: what is fitted; None: the probe.
        head: output of the encoders; None: the head that prompts belong to where they start the
            classifier, else "emb".
        leaks: "error" stops when something tested was in an encoder's pretraining; "report" only
            writes it into the rows.
        altered: windows `[n, time, 6]` -> the same windows as they are tested; the classifier is
            fitted on unchanged ones. None: tested as they are. For the probe.
        log: takes progress lines.

    Returns:
        one row per method, dataset and shot count, ready for results.jsonl.

    Raises:
        PrimusError: two datasets of one name, contradicting options, a leak, or what
            `dataset_features`, `probe_fewshot` and `paper_fewshot` raise.
    """
    protocol, draws = protocol or Protocol(), draws or DrawOptions()
    protocol.validate()
    if altered is not None and (protocol.name != "probe" or protocol.from_scratch):
        raise PrimusError("altered test windows belong to the probe on frozen features.")
    if leaks not in LEAKS:
        raise PrimusError(f"leaks={leaks!r}; expected one of {LEAKS}.")
    folders = list(folders)
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise PrimusError(f"datasets {names}: two have one name. Prepare one again with --name.")
    runs = [
        MethodRun(name, methods[name], protocol, draws, head, leaks, altered=altered)
        for name in methods
    ]
    if protocol.from_scratch:
        every = (method for encoders in methods.values() for method in encoders)
        first = next((method for method in every if trained_encoder(method) is not None), None)
        if first is None:
            raise PrimusError("from scratch: there is no encoder whose architecture to train.")
        runs.append(MethodRun(SCRATCH, [first], protocol, draws, head, leaks, scratch=True))
    return evaluate(runs, folders, log)


def evaluate(
    runs: Sequence["MethodRun"],
    folders: Iterable[DatasetFolder],
    log: Callable[[str], None] = lambda line: None,
) -> list[ResultRow]:
    """Rows of every run on every dataset; an encoder embeds a dataset once for all its runs.

    Raises:
        PrimusError: what `compare` raises.
    """
    origin, rows = provenance(), []
    for folder in folders:
        needed = any(
            run.scratch or run.protocol.finetune or run.altered is not None for run in runs
        )
        imu = dataset_windows(folder) if needed else None
        known: dict[tuple[int, str], Features] = {}
        for run in runs:
            rows += run.rows(_Dataset(folder, imu, known), origin, prefixed(log, folder.name))
    return rows


def prefixed(log: Callable[[str], None], name: str) -> Callable[[str], None]:
    """`log` for lines about `name`."""
    return lambda line: log(f"{name}: {line}")


def write_comparison(rows: Rows, folder: Path) -> str:
    """Write `FILES` into an existing folder; return the table."""
    table = markdown_tables(rows)
    write_rows(folder / FILES[0], rows)
    (folder / FILES[1]).write_text(table, encoding="utf-8")
    plot_shots(rows, folder / FILES[2])
    plot_all_confusions(rows, folder / FILES[3])
    return table


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """The scores of one encoder, and what else its rows state about it."""

    result: FewShotResult
    check: LeakCheck
    start: HeadStart
    people_known: bool


@dataclasses.dataclass(frozen=True)
class _Dataset:
    """A folder, its windows `[n, time, 6]` where an encoder is trained, and what was embedded."""

    folder: DatasetFolder
    imu: np.ndarray | None
    known: dict[tuple[int, str], Features]

    def features(self, method: Method, head: str) -> Features:
        """The features of a method, embedded once."""
        key = (id(method), head)
        if key not in self.known:
            self.known[key] = dataset_features(method, self.folder, head)
        return self.known[key]


@dataclasses.dataclass(frozen=True)
class MethodRun:
    """One method under one protocol; `scratch` trains its architecture from nothing."""

    name: str
    encoders: Sequence[Method]
    protocol: Protocol
    draws: DrawOptions
    head: str | None
    leaks: str
    scratch: bool = False
    altered: Altered | None = None

    def rows(
        self, dataset: _Dataset, origin: dict[str, Any], log: Callable[[str], None]
    ) -> list[ResultRow]:
        """Rows on one dataset, one per shot count."""
        folder, say = dataset.folder, prefixed(log, self.name)
        outcomes = [self._evaluate(encoder, dataset, say) for encoder in self.encoders]
        checks = [outcome.check for outcome in outcomes]
        for note in dict.fromkeys(outcome.start.note for outcome in outcomes if outcome.start.note):
            log(f"{self.name}: {note}")
        if any(check["status"] in ("leak", "not verified") for check in checks):
            for why in dict.fromkeys(c["why"] for c in checks if c["status"] != "clean"):
                log(f"{self.name}: leak check against pretraining: {why}")
        hashes = [encoder_hash(encoder) for encoder in self.encoders]
        results = summarize([outcome.result for outcome in outcomes])
        log(f"{self.name}: {sum(folder.splits.values())} windows embedded and classified")
        return [
            {
                "method": self.name,
                "dataset": folder.name,
                "simulated": folder.simulated,
                "people_known": outcomes[0].people_known,
                "head": outcomes[0].start.head,
                "dataset_hash": folder.content_hash,
                "encoder_hashes": hashes,
                "encoder_config": encoder_description(self.encoders[0]),
                "pretraining_leaks": checks,
                **row,
                "provenance": origin,
            }
            for row in results
        ]

    def _evaluate(self, method: Method, dataset: _Dataset, log: Callable[[str], None]) -> _Outcome:
        """One encoder on one dataset, and whether anything tested was in its pretraining."""
        folder = dataset.folder
        prompts = None if self.scratch else self.protocol.prompts
        start = head_start(prompts, trained_encoder(method), folder, self.head)
        features = dataset.features(method, start.head)
        check: LeakCheck = {"status": "untrained", "why": "from scratch"}
        with _naming(str(folder.path)):
            result = self._fitted(features, method, start, dataset.imu, log)
            if not self.scratch:
                with _naming(self.name):
                    check = self._pretraining_check(method, folder, features)
        return _Outcome(result, check, start, bool((features.subject != "unknown").all()))

    def _fitted(
        self,
        features: Features,
        method: Method,
        start: HeadStart,
        imu: np.ndarray | None,
        log: Callable[[str], None],
    ) -> FewShotResult:
        shots, seeds, people = self.draws.shots, self.draws.seeds, self.draws.people
        detail = self.draws.detail
        protocol, encoder, finetuning = self.protocol, trained_encoder(method), None
        if encoder is not None and imu is not None and (self.scratch or protocol.finetune):
            own = method.resampled(imu) if isinstance(method, ResampledEncoder) else imu
            finetuning = Finetuning(encoder, start.head, own, from_scratch=self.scratch)
        if self.scratch:
            return paper_fewshot(
                features, shots, seeds, people, protocol.scratch, finetuning=finetuning,
                detail=detail, log=log,
            )  # fmt: skip
        if protocol.name == "probe":
            tested = None
            if self.altered is not None and imu is not None:
                tested = method.encode_windows(self.altered(imu), head=start.head)
            return probe_fewshot(
                features, shots, seeds, protocol.c, people, protocol.classifier, tested,
                detail=detail,
            )  # fmt: skip
        if isinstance(method, HandFeatures) and protocol.paper.inputs != "standard":
            # Metres per second squared and hertz mean nothing side by side on the unit sphere.
            scale = np.maximum(features.embedding.std(0), 1e-6)
            scaled = (features.embedding - features.embedding.mean(0)) / scale
            features = dataclasses.replace(features, embedding=scaled.astype(np.float32))
        return paper_fewshot(
            features, shots, seeds, people, protocol.paper,
            class_embedding=start.class_embedding, finetuning=finetuning, detail=detail, log=log,
        )  # fmt: skip

    def _pretraining_check(
        self, method: Method, folder: DatasetFolder, features: Features
    ) -> LeakCheck:
        encoder = trained_encoder(method)
        if encoder is None:
            return {"status": "untrained", "why": "no learning"}
        sides = sides_of(self.draws.people, features, self.draws.seed_list())
        tested = sides.test.any(0) & (features.label >= 0)
        try:
            return check_pretraining(encoder.metadata, folder, features, tested)
        except PrimusError as error:
            if self.leaks == "error":
                raise
            return {"status": "leak", "why": str(error)}


@contextlib.contextmanager
def _naming(what: str) -> Iterator[None]:
    """Put `what` before the message of an error."""
    try:
        yield
    except PrimusError as error:
        raise PrimusError(f"{what}: {error}") from error
