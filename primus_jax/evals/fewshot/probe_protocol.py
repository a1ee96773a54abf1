"""The practitioner's few-shot protocol: k labelled windows per class of some people, tested on
other people, by a convex classifier on frozen features."""

import warnings
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features
from primus_jax.evals.fewshot.convex import CLASSIFIERS
from primus_jax.evals.fewshot.draws import DrawOptions, make_draws
from primus_jax.evals.fewshot.logistic import TOLERANCE
from primus_jax.evals.fewshot.probe import ProbeDraws, probe_grid
from primus_jax.evals.fewshot.sampling import padded_rows, validation_folds
from primus_jax.evals.fewshot.scores import FewShotResult, score
from primus_jax.reports.rows import FitDetails, FittedClassifier

VALIDATION_FOLDS = 3


def probe_fewshot(
    features: Features,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    c: float | None = None,
    people: str = "resampled",
    classifier: str = "logistic",
    tested: np.ndarray | None = None,
    *,
    detail: bool = False,
) -> FewShotResult:
    """Fit a convex classifier on frozen features, all shots and seeds in one compiled program.

    The draws of people and windows are the same for every encoder. A class without a window of any
    training person counts as missed in the test, never as left out.

    Args:
        features: of the whole dataset.
        shots, seeds, people: see `draws.DrawOptions`.
        c: inverse strength of the penalty, scikit-learn's C (for ridge its alpha is 1 / (2 C));
            None chooses it on labelled windows of people left out of the fit, see
            `probe.probe_grid`.
        classifier: "logistic" or "ridge".
        tested: embeddings `[n, dim]` that stand for the windows where they are tested, never where
            they are labelled; None: those of `features`.
        detail: see `draws.DrawOptions`.

    Raises:
        PrimusError: c is not positive, an unknown classifier, or what `draws.make_draws` raises.
    """
    if c is not None and not 0 < c < float("inf"):
        raise PrimusError(f"c={c}; expected a positive number (1.0 is scikit-learn's default).")
    if classifier not in CLASSIFIERS:
        raise PrimusError(f"classifier={classifier!r}; expected one of {tuple(CLASSIFIERS)}.")
    draws = make_draws(features, DrawOptions(shots, seeds, people, detail))
    test, _ = padded_rows(draws.sides.test & (features.label >= 0))
    fold = validation_folds(features.group, draws.sides, draws.labelled, VALIDATION_FOLDS)
    if tested is not None and not np.isfinite(tested).all():
        raise PrimusError("an embedding of an altered test window is not finite.")
    result = probe_grid(
        features.embedding,
        ProbeDraws(
            pool=jnp.asarray(draws.sides.train),
            rows=jnp.asarray(draws.labelled.rows),
            valid=jnp.asarray(draws.labelled.valid),
            fold=jnp.asarray(fold),
            test=jnp.asarray(test),
        ),
        shots=draws.shots,
        grid=None if c is None else (float(c),),
        folds=VALIDATION_FOLDS,
        classifier=classifier,
        tested=tested,
    )
    logits, gradient, chosen, counted = (np.asarray(part) for part in result)
    name = CLASSIFIERS[classifier].name
    if gradient.max() > 10 * TOLERANCE:
        warnings.warn(
            f"{name} stopped at {gradient.max():.1e} of its first gradient (expected below "
            f"{TOLERANCE:.0e}); scores may change in the third digit. A smaller c helps.",
            stacklevel=2,
        )
    about: FittedClassifier = {
        "protocol": "probe",
        "name": f"{name} on frozen, standardised features",
        "c": "chosen on people left out" if c is None else float(c),
    }
    details: list[FitDetails] = [
        {
            "c": [float(f"{value:.6g}") for value in chosen[:, k]],
            "c_chosen_by_windows": counted[:, k].tolist(),
            "gradient_norm": float(gradient[:, k].max()),
        }
        for k in range(len(draws.shots))
    ]
    return score(features, draws, logits, about, details)
