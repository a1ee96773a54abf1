"""Run what is missing of a study: pretrain, export, evaluate, report."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import jax

from primus_jax.config import Config, to_dict
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.comparison import compare
from primus_jax.evals.fewshot.draws import DrawOptions
from primus_jax.evals.fewshot.protocol import SCRATCH
from primus_jax.evals.hand_features import NAME as HAND
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.evals.identity import Method, encoder_hash
from primus_jax.evals.resampled import ResampledEncoder
from primus_jax.export.run import ExportOptions, export
from primus_jax.files import local_path, replace_file
from primus_jax.reports.rows import ResultRow
from primus_jax.study.report import write_results
from primus_jax.study.retrieval import check_retrieval, retrieval_rows
from primus_jax.study.study import RANDOM, Log, Study, encoder_folder, slug
from primus_jax.training.folder_lock import LOCK, hold_folder
from primus_jax.training.in_step_towers import open_frozen
from primus_jax.training.loop import pretrain
from primus_jax.window import same_rate


def run_study(study: Study, out: Path, log: Log = print) -> bool:
    """Do what is missing of a study in the folder `out`, then write its results.

    Returns False where a signal stopped it first; the same call goes on.

    Raises:
        PrimusError: an invalid study, missing data, a run of another config in `out`, or a leak
            between pretraining and test.
    """
    study.validate()
    folders = study.folders()
    out = local_path(out, "--out")
    inside = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if inside - {LOCK} and "runs" not in inside:
        raise PrimusError(f"{out} is not empty and holds no study. Choose another --out.")
    _check_data(study, folders)
    with hold_folder(out, log):
        return _run_held(study, folders, out, log)


def _run_held(study: Study, folders: list[tuple[str, DatasetFolder]], out: Path, log: Log) -> bool:
    if not _pretrain_all(study, out, log):
        return False
    methods = _methods(study, out)
    rows: list[ResultRow] = []
    for role, folder in folders:
        log(f"evaluating on {folder.name} ({role})")
        for name, encoders in methods.items():
            found = _evaluate(
                study, out, folder, name, _at_rate(study, name, encoders, folder), log
            )
            rows += [{"role": role, **row} for row in found]
    retrieved = retrieval_rows(study, methods, out, log)
    write_results(study, rows, retrieved, methods, folders, out, log)
    return True


def _check_data(study: Study, folders: list[tuple[str, DatasetFolder]]) -> None:
    """Raise before hours of pretraining what would otherwise be raised after them."""
    for paths in study.external_paths.values():
        for path in paths:
            load_encoder(path)
    check_retrieval(study)
    for name, config in study.methods.items():
        trains = [config.objective.open_folder(path) for path in config.data.train]
        try:
            open_frozen(config.objective, trains)
        except PrimusError as error:
            raise PrimusError(f"study, method {name!r}: {error}") from error
        for train in trains:
            for _, folder in folders:
                if not same_rate(train.rate_hz, folder.rate_hz):
                    raise PrimusError(
                        f"study, method {name!r}: {train.path} has windows at "
                        f"{train.rate_hz:g} Hz, {folder.path} at {folder.rate_hz:g} Hz. Prepare "
                        f"both with the same --target-rate."
                    )


def _pretrain_all(study: Study, out: Path, log: Log) -> bool:
    """Every seed of every method, exported; False where a signal stopped it."""
    jobs = [(seed, name) for seed in study.pretraining_seeds for name in study.methods]
    for number, (seed, name) in enumerate(jobs, 1):
        config = dataclasses.replace(study.methods[name], seed=seed)
        target = encoder_folder(out, name, seed)
        title = f"pretraining {number}/{len(jobs)}: {name}, seed {seed}"
        if is_export_of(target, config):
            log(f"{title}: done before")
            continue
        log(title)
        workdir = out / "runs" / slug(name) / str(seed)
        state = pretrain(config, workdir, log=lambda line: log(f"  {line}"))
        if int(state.step) < config.steps:
            return False
        export(workdir, target, ExportOptions(overwrite=True))
        # The compiled step of a finished run is of no use to the next one.
        jax.clear_caches()
    return True


def is_export_of(folder: Path, config: Config) -> bool:
    """Whether the folder was exported from a finished run of this config on these data.

    A frozen network, such as RelCon's distance, must still have the weights of that run.
    """
    if not (folder / "config.json").is_file():
        return False
    made = json.loads((folder / "config.json").read_text())["provenance"]
    folders = [config.objective.open_folder(path) for path in config.data.train]
    then = [about["content_hash"] for about in made["data"].values()]
    if made["config"] != to_dict(config) or then != [x.content_hash for x in folders]:
        return False
    _, frozen = open_frozen(config.objective, folders)
    return frozen.items() <= made.get("towers", {}).items()


def _methods(study: Study, out: Path) -> dict[str, Sequence[Method]]:
    """Rows of the table: name -> encoders, baselines last."""
    trained: dict[str, list[Encoder]] = {
        name: [load_encoder(encoder_folder(out, name, seed)) for seed in study.pretraining_seeds]
        for name in study.methods
    }
    designs: dict[str, str] = {}
    for name, encoders in trained.items():
        designs.setdefault(repr(encoders[0].config), name)
    methods: dict[str, Sequence[Method]] = {**trained}
    for name, paths in study.external_paths.items():
        methods[name] = [load_encoder(path) for path in paths]
    for name in designs.values() if study.random_seeds else ():
        like = trained[name][0]
        methods[RANDOM if len(designs) == 1 else f"{RANDOM} ({name})"] = [
            Encoder.random(like.config, seed, like.rate_hz, like.window_seconds)
            for seed in study.random_seeds
        ]
    lead = trained[study.lead][0]
    for name, config in study.untrained.items():
        methods[f"{RANDOM} ({name})"] = [
            Encoder.random(config, seed, lead.rate_hz, lead.window_seconds)
            for seed in study.random_seeds
        ]
    if study.hand_features:
        methods[HAND] = [HandFeatures(trained[study.lead][0].rate_hz)]
    if study.protocol.from_scratch:
        methods[SCRATCH] = trained[study.lead][:1]
    return methods


def _at_rate(
    study: Study, name: str, encoders: Sequence[Method], folder: DatasetFolder
) -> Sequence[Method]:
    """The encoders, for windows of this dataset; only those of others are resampled for."""
    if name not in study.external or same_rate(encoders[0].rate_hz, folder.rate_hz):
        return encoders
    loaded = [encoder for encoder in encoders if isinstance(encoder, Encoder)]
    return [ResampledEncoder(encoder, folder.rate_hz) for encoder in loaded]


def _evaluate(
    study: Study, out: Path, folder: DatasetFolder, name: str, encoders: Sequence[Method], log: Log
) -> list[ResultRow]:
    """Rows of one method on one dataset, read from `out` where nothing about them changed."""
    scratch = name == SCRATCH
    protocol = dataclasses.replace(study.protocol, from_scratch=scratch)
    made_from = {
        "method": name,
        "encoders": [encoder_hash(encoder) for encoder in encoders],
        "dataset": folder.content_hash,
        "dataset_name": folder.name,
        "shots": study.shots,
        "seeds": study.seeds,
        "people": study.people,
        "protocol": dataclasses.asdict(protocol),
    }
    key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()
    path = out / "evaluations" / slug(folder.name) / f"{slug(name)}.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["key"] == key:
            return kept["rows"]
    rows = compare(
        {"its encoder" if scratch else name: encoders},
        [folder],
        DrawOptions(study.shots, study.seeds, study.people),
        protocol=protocol,
        log=lambda line: log(f"  {line}"),
    )
    rows = [row for row in rows if row["method"] == name]
    with replace_file(path) as temporary:
        temporary.write_text(json.dumps({"key": key, "rows": rows}, allow_nan=False) + "\n")
    return rows
