"""The losses of training by gradient, and the scores that choose an epoch."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score

from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.criterion import SQUARED_ERROR, each_loss, score
from primus_jax.evals.fewshot.paper_config import PaperConfig


def test_a_number_has_a_squared_error_and_rows_that_are_not_valid_do_not_count():
    outputs, true = jnp.array([[1.0], [4.0], [9.0]]), jnp.array([1.5, 2.0, 0.0])
    np.testing.assert_allclose(each_loss(outputs, true, SQUARED_ERROR), [0.25, 4, 81])
    valid = jnp.array([True, True, False])
    assert float(score(outputs, true, valid, SQUARED_ERROR)) == pytest.approx(-2.125)


def test_classes_have_scikit_learns_macro_f1_and_accuracy():
    rng = np.random.default_rng(0)
    outputs, true = rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 3, 40)
    valid = np.arange(40) < 30
    predicted = outputs.argmax(1)
    found = [
        float(score(jnp.asarray(outputs), jnp.asarray(true, jnp.int32), jnp.asarray(valid), by))
        for by in ("accuracy", "macro_f1")
    ]
    labels = np.unique(true[valid])
    f1 = f1_score(true[valid], predicted[valid], labels=labels, average="macro")
    assert found == pytest.approx([(predicted == true)[valid].mean(), f1])


def test_a_number_has_no_classes_to_weigh():
    with pytest.raises(PrimusError, match="a number has none"):
        PaperConfig(chosen_by=SQUARED_ERROR, class_weights=True).validate()
