"""How a classifier is trained by gradient."""

import dataclasses

from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.criterion import CHOSEN_BY, SQUARED_ERROR
from primus_jax.evals.fewshot.head import INPUTS

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("steps", "epochs")


@dataclasses.dataclass(frozen=True)
class PaperConfig:
    """How the head (and, fine-tuned, the encoder) is trained.

    The defaults are the paper's rate, decay and batch; its epochs differ by dataset (10 to 50).

    Attributes:
        lr: the highest rate of AdamW.
        weight_decay: of AdamW.
        epochs: at most so many.
        batch_size: windows of a step.
        hidden: units of the head's hidden layer (ReLU); 0: a linear head.
        inputs: of the head: "unit" vectors, as in the paper, features "standard"ised by windows
            of the training people, as the encoder starts, and clipped to +-8, or "raw" ones.
        layers: of the encoder that are trained, from its output; None: all.
        patience: training stops after so many epochs without a better one; 0: never.
        class_weights: every class counts the same in the loss, however many windows it has.
        chosen_by: the score on validation people that chooses the epoch, one of `CHOSEN_BY`. The
            squared error makes the output a number, and the loss its squared error.
        validation_share: of the training people, who choose the epoch.
        optimizer: "adamw", or "sgd" with a momentum of 0.9.
        schedule: of the rate: "steps", 1 % of them to warm up and a cosine to 0, or "epochs".
        warmup_epochs, lr_start, lr_end: of the schedule "epochs", see `rates.by_epochs`.
        head_epochs: of all, while the head of a fine-tuned encoder trains alone; 0: none.
        head_lr: the rate of the head in these.
    """

    lr: float = 1e-4
    weight_decay: float = 1e-4
    epochs: int = 20
    batch_size: int = 256
    hidden: int = 0
    inputs: str = "unit"
    layers: int | None = None
    patience: int = 0
    class_weights: bool = False
    chosen_by: str = "accuracy"
    validation_share: float = 0.2
    optimizer: str = "adamw"
    schedule: str = "steps"
    warmup_epochs: int = 0
    lr_start: float = 0.0
    lr_end: float = 0.0
    head_epochs: int = 0
    head_lr: float = 0.0

    def validate(self) -> None:
        """Raise PrimusError for values that mean nothing."""
        if not 0 < self.lr < float("inf") or not 0 <= self.weight_decay < float("inf"):
            raise PrimusError(
                f"lr {self.lr}, weight decay {self.weight_decay}; expected lr above 0, decay 0 or "
                f"more."
            )
        if self.epochs < 1 or self.batch_size < 1:
            raise PrimusError(
                f"epochs {self.epochs}, batch size {self.batch_size}; expected at least 1 each."
            )
        if self.hidden < 0 or self.patience < 0:
            raise PrimusError(
                f"hidden units {self.hidden}, patience {self.patience}; expected 0 or more each."
            )
        if self.class_weights and self.chosen_by == SQUARED_ERROR:
            raise PrimusError("class weights belong to classes; a number has none.")
        if not 0 < self.validation_share < 1:
            raise PrimusError(
                f"validation share {self.validation_share}; expected between 0 and 1."
            )
        if not 0 <= self.head_epochs + self.warmup_epochs < self.epochs or (
            self.head_epochs and not 0 < self.head_lr < float("inf")
        ):
            raise PrimusError(
                f"{self.epochs} epochs, {self.warmup_epochs} of them to warm up, "
                f"{self.head_epochs} for the head alone at a rate of {self.head_lr}; expected "
                f"fewer of those than epochs, and a rate above 0."
            )
        for name, known in (
            ("inputs", INPUTS),
            ("chosen_by", CHOSEN_BY),
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
        ):
            if getattr(self, name) not in known:
                raise PrimusError(f"{name} {getattr(self, name)!r}; expected one of {known}.")
