"""What is fitted to the labelled windows."""

import dataclasses

from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.convex import CLASSIFIERS
from primus_jax.evals.fewshot.paper_config import PaperConfig

PROTOCOLS = ("probe", "paper")
SCRATCH = "supervised from scratch"
PAPER = PaperConfig()
FROM_SCRATCH = PaperConfig(lr=1e-3, epochs=50)
# IMG2IMU (arXiv 2209.00945 v2): Adam, batches of 4, and 60:20:20 of the people by five folds. The
# paper does not state which epoch it tests.
IMG2IMU = PaperConfig(
    lr=1e-5, weight_decay=0.0, epochs=50, batch_size=4, inputs="raw", chosen_by="macro_f1",
    validation_share=0.25, schedule="epochs", warmup_epochs=10, lr_start=1e-8, lr_end=1e-6,
)  # fmt: skip
# Version 1 of the paper trains the head for 50 epochs and then everything for 100, by SGD. The
# paper does not state the momentum.
IMG2IMU_TUNED = PaperConfig(
    lr=1e-4, weight_decay=0.0, epochs=150, batch_size=16, inputs="raw", chosen_by="macro_f1",
    validation_share=0.25, optimizer="sgd", schedule="epochs", lr_start=1e-4, lr_end=1e-4,
    head_epochs=50, head_lr=0.6,
)  # fmt: skip
FINETUNE = PaperConfig(
    epochs=50, batch_size=64, inputs="standard", patience=10, chosen_by="macro_f1"
)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What is fitted to the labelled windows.

    Attributes:
        name: "probe", a convex classifier on frozen features; "paper", see `paper_protocol`.
        classifier: of the probe: "logistic" or "ridge" regression.
        c: of the probe; None chooses it on people left out.
        paper: how the paper's protocol trains.
        prompts: a file of class prompts, or "folder" for the sentences stored in the dataset;
            they start the heads of encoders that were trained with sentences, or whose training
            is not known. None: random heads.
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
