"""The published benchmarks of motion encoders: which windows, which people, what is fitted.

RelCon (Xu et al., ICLR 2025, arXiv 2411.18822), tables 3 and 4. The published code mixes test
people into training for two of these datasets. Here `leaks.check_sides` keeps people apart.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.comparison import MethodRun
from primus_jax.evals.fewshot.draws import DrawOptions
from primus_jax.evals.fewshot.methods import RANDOM
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.protocol import Protocol
from primus_jax.evals.identity import Method, trained_encoder

MODES = {
    "linear": "linear probe",
    "mlp": "MLP probe",
    "finetune": "fine-tuned",
    "scratch": "from scratch",
}
# A probe of 512 hidden units whose training stops early, as in table 3; inputs are standardised.
MLP = PaperConfig(
    lr=1e-3, epochs=200, batch_size=200, hidden=512, inputs="standard", patience=5,
    chosen_by="macro_f1",
)  # fmt: skip
# Everything is trained at 1e-3 with 512 hidden units, batches of 16 and 10 epochs, as in table 3.
TUNED = PaperConfig(
    lr=1e-3, weight_decay=0.0, epochs=10, batch_size=16, hidden=512, inputs="standard",
    chosen_by="macro_f1",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Bench:
    """A benchmark on one prepared dataset.

    Attributes:
        title: for people.
        source: of `primus-jax prepare`; "" takes any dataset as it is.
        placement: of every window.
        labels: the activities.
        window_seconds: of the windows.
        hop_seconds: between their starts.
        people: folds, see `draws.DrawOptions`.
        left_out: activities that `prepare` drops.
    """

    title: str
    source: str = ""
    placement: str = ""
    labels: tuple[str, ...] = ()
    window_seconds: float = 0.0
    hop_seconds: float = 0.0
    people: str = "kfold:5"
    left_out: tuple[str, ...] = ()

    def prepare(self) -> str:
        """The command that makes its dataset; the rate is that of the encoder."""
        words = [f'primus-jax prepare {self.source} --raw DIR --placement "{self.placement}"']
        words.append(f"--target-rate 100 --window {self.window_seconds:g}")
        if self.hop_seconds != self.window_seconds:
            words.append(f"--hop {self.hop_seconds:g}")
        if self.left_out:
            words.append("--drop-labels " + " ".join(f'"{name}"' for name in self.left_out))
        return " ".join(words)

    def check(self, folder: DatasetFolder) -> None:
        """Raise PrimusError unless the folder holds the windows of this benchmark."""
        if not self.source:
            return
        about, found = folder.metadata, _Found(folder)
        for what, there, expected in (
            ("window", f"{about.window_seconds:g} s", f"{self.window_seconds:g} s"),
            ("hop", f"{about.hop_seconds:g} s", f"{self.hop_seconds:g} s"),
            ("source", found.sources, (self.source,)),
            ("placement", found.placements, (self.placement,)),
            ("labels", tuple(sorted(folder.label_names)), tuple(sorted(self.labels))),
        ):
            if there != expected:
                raise PrimusError(
                    f"{folder.path}: {what} {_words(there)}; {self.title} has {_words(expected)}. "
                    f"Prepare it by `{self.prepare()}`, or take the bench 'any'."
                )


class _Found:
    """Sources and placements of a dataset's windows, by the names of people."""

    def __init__(self, folder: DatasetFolder) -> None:
        sources: set[str] = set()
        placements: set[str] = set()
        for split in folder.splits:
            for rows in folder.windows(split):
                sources.update(row["subject"].partition("/")[0] for row in rows)
                placements.update(row["placement"] for row in rows)
        self.sources, self.placements = tuple(sorted(sources)), tuple(sorted(placements))


def _words(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(map(repr, value)) or "nothing"


_BASIC = ("walking", "sitting", "standing")
_LYING = ("lying", "sitting", "standing", "walking")
_STAIRS = ("ascending stairs", "descending stairs")
_HOUSE = ("vacuum cleaning", "ironing")
_SPORT = ("running", "cycling", "Nordic walking")
_OPTIONAL = (
    "watching TV", "working on a computer", "driving a car", "folding laundry",
    "cleaning the house", "playing soccer",
)  # fmt: skip
BENCHES = {
    "hhar-watch": Bench(
        "HHAR, watches at the wrist", "hhar", "wrist",
        (*_BASIC, "cycling", "walking upstairs", "walking downstairs"), 2.0, 2.0,
    ),
    "motionsense": Bench(
        "MotionSense", "motionsense", "front trouser pocket",
        (*_BASIC, "jogging", "walking upstairs", "walking downstairs"), 2.0, 2.0,
    ),
    "pamap2-ankle": Bench(
        "PAMAP2 at the ankle", "pamap2", "dominant ankle",
        (*_LYING, *_STAIRS, *_HOUSE, *_SPORT, "jumping rope"), 2.0, 2.0, left_out=_OPTIONAL,
    ),
    "opportunity-wrist": Bench(
        "Opportunity at the right wrist", "opportunity", "right wrist", _LYING, 10.0, 5.0,
        "leave-one-out",
    ),
    "pamap2-wrist": Bench(
        "PAMAP2 at the wrist", "pamap2", "dominant wrist", (*_LYING, *_STAIRS, *_HOUSE), 10.0, 5.0,
        "leave-one-out", (*_OPTIONAL, *_SPORT, "jumping rope"),
    ),
    "any": Bench("any labelled dataset"),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BenchOptions:
    """What is fitted: `modes`, of `MODES`; changes of `TUNED`; the rest as in `compare`."""

    modes: Sequence[str]
    people: str
    seeds: int = 1
    head: str | None = None
    leaks: str = "error"
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def runs(self, methods: Mapping[str, Sequence[Method]]) -> list[MethodRun]:
        """A run for each method and mode.

        Hand-crafted statistics cannot be fine-tuned, and a random encoder that is fine-tuned is one
        from scratch, of which there is one for each architecture.

        Raises:
            PrimusError: training options that mean nothing.
        """
        tuned = dataclasses.replace(TUNED, **self.training)
        protocols = {
            "linear": Protocol("probe"),
            "mlp": Protocol("paper", paper=MLP),
            "finetune": Protocol("paper", paper=tuned, finetune=True),
            "scratch": Protocol("paper", scratch=tuned),
        }
        draws = DrawOptions((), self.seeds, self.people, detail=True)
        runs = []
        for mode in self.modes:
            protocol, seen = protocols[mode], []
            protocol.validate()
            for name, own in methods.items():
                encoder = trained_encoder(own[0])
                if mode in ("finetune", "scratch") and (name == RANDOM or encoder is None):
                    continue
                scratch, label = mode == "scratch", f"{name}, {MODES[mode]}"
                if scratch and encoder is not None:
                    if encoder.config in seen:
                        continue
                    seen.append(encoder.config)
                    label = f"{encoder.config.kind} of {name}, {MODES[mode]}"
                encoders = own[:1] if scratch else own
                runs.append(
                    MethodRun(label, encoders, protocol, draws, self.head, self.leaks, scratch)
                )
        return runs
