"""A number of every window, predicted by an encoder that is trained for it."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.criterion import SQUARED_ERROR
from primus_jax.evals.fewshot.draws import Draws
from primus_jax.evals.fewshot.leaks import check_sides
from primus_jax.evals.fewshot.network import Network, check_layers
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.paper_protocol import lanes_of
from primus_jax.evals.fewshot.paper_training import Model, PaperDraws, Start, fit_draws
from primus_jax.evals.fewshot.sampling import Sides, draw_shots, padded_rows, validation_people
from primus_jax.evals.regression.protocol import Predictions

TUNED = PaperConfig(
    epochs=50, batch_size=64, inputs="standard", patience=10, chosen_by=SQUARED_ERROR
)
# A random encoder needs a higher rate than a pretrained one.
FROM_SCRATCH = dataclasses.replace(TUNED, lr=1e-3)


@dataclasses.dataclass(frozen=True)
class Tuning:
    """An encoder that is trained together with a regression of its output.

    Attributes:
        encoder: where training starts.
        head: its output.
        imu: float32 `[n, time, 6]`, every window of the dataset at the encoder's rate.
        config: how; chosen by the squared error.
        from_scratch: start from a random initialisation of the architecture.
    """

    encoder: Encoder
    head: str
    imu: np.ndarray
    config: PaperConfig = TUNED
    from_scratch: bool = False


def predict_tuned(
    features: Features,
    target: np.ndarray,
    sides: Sides,
    tuning: Tuning,
    log: Callable[[str], None] = lambda line: None,
) -> Predictions:
    """Train on the training people of every draw, and predict the windows of its test people.

    A fifth of the training people choose the epoch, by their squared error. The target is
    standardised by the windows that are trained on. RelCon fine-tunes its encoder for regression
    and does not publish how; rate, epochs and batch are those of `primus-jax finetune`.

    Args:
        features: of the whole dataset; its embedding is not read.
        target: float64 `[n]`, from `protocol.target_of`.
        sides: from `protocol.draw_sides`.
        tuning: the encoder, and how it is trained.
        log: takes a line for every draw.

    Raises:
        PrimusError: a single training person, a setting that means nothing, more layers than the
            encoder has, or training that diverged.
    """
    config = tuning.config
    config.validate()
    if config.chosen_by != SQUARED_ERROR:
        raise PrimusError(f"chosen_by {config.chosen_by!r}; a number needs {SQUARED_ERROR!r}.")
    layers = None if tuning.from_scratch else config.layers
    check_layers(tuning.encoder.config, tuning.head, tuning.imu.shape[1], layers)
    network = Network(tuning.encoder.config, tuning.head, layers)
    model = Model(tuning.encoder.config.width(tuning.head), 1, config, network)
    start = Start({} if tuning.from_scratch else tuning.encoder.params)
    known = np.isfinite(target)
    sides, lanes = _lanes(features, known, sides, config)
    imu, rows = jnp.asarray(tuning.imu, jnp.float32), np.flatnonzero(known)
    seeds = sorted(set(sides.seed.tolist()))
    predicted = np.full((len(seeds), len(target)), np.nan)
    test, tested = padded_rows(sides.test & known)
    epochs = []
    for i, seed in enumerate(sides.seed.tolist()):
        if not tested[i].any():
            continue
        shown = target[np.asarray(lanes.rows[i])[np.asarray(lanes.valid[i])]]
        level, spread = shown.mean(), shown.std() or 1.0
        scaled = jnp.asarray(np.where(known, (target - level) / spread, 0), jnp.float32)
        lane = jax.tree.map(lambda leaf: leaf[i : i + 1], lanes)  # noqa: B023
        found = fit_draws(imu, scaled, lane, start, model=model, together=1)
        numbers = np.asarray(found.logits)[0, :, 0].astype(np.float64) * spread + level
        if not np.isfinite(numbers).all():
            raise PrimusError(
                f"training diverged at a learning rate of {config.lr:g}; take a lower one (--lr)."
            )
        predicted[seeds.index(seed), test[i, tested[i]]] = numbers[tested[i]]
        epochs.append(int(found.epoch[0]))
        log(f"draw {i + 1} of {len(sides.seed)}: best epoch {epochs[-1]} of {found.trained[0]}")
    return Predictions(rows, target[rows], predicted[:, rows], (), tuple(epochs))


def _lanes(
    features: Features, known: np.ndarray, sides: Sides, config: PaperConfig
) -> tuple[Sides, PaperDraws]:
    """The draws with validation people of their own, and their windows: all that have a target."""
    nothing = np.zeros(len(known), np.int32)
    sides = validation_people(sides, nothing, features.group, config.validation_share)
    check_sides(features, sides)
    # One class of all windows that have a target.
    one = dataclasses.replace(features, label=np.where(known, 0, -1).astype(np.int32))
    most = int(sides.train.sum(1).max())
    labelled = draw_shots(one.label, sides, most, 1, sides.seed)
    draws = Draws((most,), tuple(sorted(set(sides.seed.tolist()))), "", sides, labelled)
    return sides, lanes_of(one, draws, (most,), config)
