"""A study: methods pretrained with the same seeds and evaluated on the same people and shots.

Everything lies in one folder, and every part that is whole is kept when the study runs again:

    runs/METHOD/SEED          pretraining, with checkpoints; resumes
    encoders/METHOD/SEED      export of the checkpoint of lowest validation loss
    evaluations/SET/METHOD    rows of one method on one dataset
    study.json, results.jsonl, table.md, retrieval.*, figures, report.html
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

from primus_jax.config import Config
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.protocol import SCRATCH, Protocol
from primus_jax.evals.hand_features import NAME as HAND
from primus_jax.models.base import EncoderConfig

RANDOM = "random initialisation"
ROLES = ("development", "test")
Log = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class RetrievalOptions:
    """Which windows every method retrieves among, as `evals.crossmodal.retrieval` does.

    Attributes:
        data: dataset folders with stored embeddings of sentences or videos; (): no retrieval.
        split: of these datasets.
        targets: "text", "video"; of each dataset those that it stores.
        pools: sizes; each is drawn `pool_seeds` times.
        pool_seeds: draws, the same for every method, averaged.
        equal_texts: whether windows of one sentence are right answers too.
    """

    data: tuple[str, ...] = ()
    split: str = "test"
    targets: tuple[str, ...] = ("text",)
    pools: tuple[int, ...] = (288,)
    pool_seeds: int = 5
    equal_texts: bool = False


@dataclasses.dataclass
class Study:
    """What is compared, on what.

    Attributes:
        methods: name -> pretraining config; its seed is replaced by each of `pretraining_seeds`.
        development: labelled dataset folders on which choices were made.
        test: labelled dataset folders on which none were.
        pretraining_seeds: of every method; the encoders of one method are averaged.
        shots, seeds, people: of the few-shot evaluation, see `evals.fewshot.draws.DrawOptions`.
        protocol: see `evals.fewshot.protocol.Protocol`; its `from_scratch` adds the lead's
            architecture trained on the labelled windows alone.
        ablation: names of `methods`: the whole one, then those with a part left out.
        random_seeds: untrained initialisations of every architecture, averaged; (): none.
        untrained: name -> a further architecture, with a row of its random initialisations.
        hand_features: add hand-crafted statistics.
        external: name -> encoder file or folder of others, or several, such as pretraining seeds,
            which are averaged; windows are resampled to their rate.
        retrieval: what pretrained and random encoders retrieve, beside the few-shot evaluation.
        tables: title -> names of `methods`, the tables of retrieval; {}: one of all.
        mapped: names of `methods` with a t-SNE map of every labelled dataset, side by side.
    """

    methods: dict[str, Config]
    development: tuple[str, ...]
    test: tuple[str, ...] = ()
    pretraining_seeds: tuple[int, ...] = (0, 1, 2)
    shots: tuple[int, ...] = (1, 5, 10, 20, 50)
    seeds: int = 5
    people: str = "resampled"
    protocol: Protocol = dataclasses.field(default_factory=Protocol)
    ablation: tuple[str, ...] = ()
    random_seeds: tuple[int, ...] = (0, 1, 2)
    untrained: dict[str, EncoderConfig] = dataclasses.field(default_factory=dict)
    hand_features: bool = True
    external: dict[str, str | tuple[str, ...]] = dataclasses.field(default_factory=dict)
    retrieval: RetrievalOptions = RetrievalOptions()
    tables: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    mapped: tuple[str, ...] = ()

    def validate(self) -> None:
        """Raise PrimusError for what cannot be run or would be mixed up."""
        if not self.methods or not self.pretraining_seeds:
            raise PrimusError("study: no methods or no pretraining seeds; there is nothing to do.")
        if not self.development and not self.test:
            raise PrimusError("study: no development and no test datasets to evaluate on.")
        names = [*self.methods, *self.external]
        slugs = [slug(name) for name in names]
        taken = tuple(slug(name) for name in (RANDOM, HAND, SCRATCH))
        for name, short in zip(names, slugs, strict=True):
            if not short or slugs.count(short) > 1 or short.startswith(taken):
                raise PrimusError(f"study: the method name {name!r} is empty or taken; change it.")
        for name, values in (
            ("pretraining", self.pretraining_seeds),
            ("random", self.random_seeds),
        ):
            if len(set(values)) < len(values):
                raise PrimusError(f"study.{name}_seeds {values} names a seed twice.")
        for name, encoder in self.untrained.items():
            encoder.validate()
            if name in names or not self.random_seeds:
                raise PrimusError(
                    f"study.untrained names {name!r}; expected a name that no method has, and "
                    f"random_seeds."
                )
        unknown = [name for name in self.ablation if name not in self.methods]
        if unknown or len(self.ablation) == 1:
            raise PrimusError(
                f"study.ablation {self.ablation}; expected () or two or more of "
                f"{tuple(self.methods)}, the whole method first."
            )
        self._check_retrieval()
        self.protocol.validate()
        for name, config in self.methods.items():
            try:
                config.validate()
            except PrimusError as error:
                raise PrimusError(f"study, method {name!r}: {error}") from error

    def _check_retrieval(self) -> None:
        named = [name for names in (*self.tables.values(), self.mapped) for name in names]
        unknown = [name for name in named if name not in self.methods]
        if unknown:
            raise PrimusError(
                f"study.tables or study.mapped names {unknown[0]!r}; expected some of "
                f"{tuple(self.methods)}."
            )
        options = self.retrieval
        if options.data and (min(options.pools, default=0) < 1 or options.pool_seeds < 1):
            raise PrimusError(
                f"study.retrieval: pools {options.pools}, pool_seeds {options.pool_seeds}; "
                f"expected positive numbers."
            )

    @property
    def external_paths(self) -> dict[str, tuple[str, ...]]:
        """Every encoder of others, by the name of its row."""
        return {n: (p,) if isinstance(p, str) else tuple(p) for n, p in self.external.items()}

    @property
    def lead(self) -> str:
        """The method that the others are compared with: the whole one of the ablation."""
        return self.ablation[0] if self.ablation else next(iter(self.methods))

    def folders(self) -> list[tuple[str, DatasetFolder]]:
        """(role, dataset) pairs; raises PrimusError where two have one name."""
        found = [(role, DatasetFolder(path)) for role in ROLES for path in getattr(self, role)]
        names = [folder.name for _, folder in found]
        if len(set(names)) < len(names):
            raise PrimusError(
                f"study: datasets {names}: two have one name. Prepare one again with --name."
            )
        return found

    def with_train(self, folders: tuple[str, ...]) -> "Study":
        """The same study, every method pretrained on these datasets, in proportion to size."""
        methods = {
            name: dataclasses.replace(
                config, data=dataclasses.replace(config.data, train=folders, weights=())
            )
            for name, config in self.methods.items()
        }
        return dataclasses.replace(self, methods=methods)


def slug(name: str) -> str:
    """A folder's name for a method: "PRIMUS without SS" -> "primus_without_ss"."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def encoder_folder(out: Path, method: str, seed: int) -> Path:
    """Where the export of a method's seed lies."""
    return out / "encoders" / slug(method) / str(seed)
