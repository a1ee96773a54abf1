"""PrimusFeatures in scikit-learn: its own estimator checks, pipelines, pickles."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.user_files import ACTIVITIES, moving, tiny_encoder

from primus_jax import PrimusFeatures
from primus_jax.errors import PrimusError
from primus_jax.window import GRAVITY

UNITS = {"acc_unit": "g", "gyro_unit": "deg/s"}
ENCODER = tiny_encoder()


class AnyWidth(PrimusFeatures):
    """scikit-learn's checks bring 1 to 20 columns of any numbers; these are squeezed and repeated
    until they are windows of 40 samples about gravity. All else is PrimusFeatures."""

    def _windows(self, rows):
        small = np.resize(np.tanh(rows / 100).T, (240, len(rows))).T.reshape(-1, 40, 6)
        return small + np.array([0, GRAVITY, 0, 0, 0, 0])


@parametrize_with_checks([AnyWidth(ENCODER)])
def test_scikit_learn_checks(estimator, check):
    """All that there are: with windows of any width none is inapplicable."""
    check(estimator)


@pytest.fixture(scope="module")
def data():
    windows = [moving(a, 3, 50, 10 * k + i) for k, a in enumerate(ACTIVITIES) for i in range(6)]
    return np.stack(windows), np.repeat(list(ACTIVITIES), 6)


def test_a_pipeline_is_a_classifier_of_windows(data, tmp_path):
    x, y = data
    ENCODER.save(tmp_path / "encoder")
    features = PrimusFeatures(tmp_path / "encoder", **UNITS)
    model = make_pipeline(features, LogisticRegression(max_iter=200))
    assert model.fit(x, y).score(x, y) == 1
    flat = x.reshape(len(x), -1)
    np.testing.assert_array_equal(model.predict(flat), model.predict(x))
    assert cross_val_score(model, flat, y, cv=2).mean() > 0.8
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    names = model[:-1].get_feature_names_out()
    assert (names[0], len(names)) == ("primusfeatures0", ENCODER.config.embed_dim)
    assert clone(features).get_params() == features.get_params()
    np.testing.assert_allclose(
        features.transform(x), ENCODER.encode(x, 50, "g", "deg/s"), atol=1e-5
    )


def test_what_is_wrong_is_said(data):
    x, _ = data
    with pytest.raises(PrimusError, match=r"expected \[n, time, 3\], or set channels"):
        PrimusFeatures(ENCODER, channels=3).fit(x)
    with pytest.raises(PrimusError, match=r"X has 20 columns; expected time \* 6"):
        PrimusFeatures(ENCODER).fit(np.zeros((4, 20)))
    with pytest.raises(PrimusError, match="channels is 4"):
        PrimusFeatures(ENCODER, channels=4).fit(x)
    with pytest.raises(PrimusError, match="does not exist"):
        PrimusFeatures("nowhere").fit(x)
    for settings, message in (
        ({"head": "zz"}, "head 'zz'"),
        ({"acc_unit": "G"}, "unit 'G'"),
        ({"rate_hz": 1}, "rate 1 Hz"),
        ({"rate_hz": "50"}, "rate '50' Hz"),
    ):
        with pytest.raises(PrimusError, match=message):
            PrimusFeatures(ENCODER, **{**UNITS, **settings}).fit(x)
    with pytest.raises(PrimusError, match="windows of 20 samples"):
        PrimusFeatures(ENCODER, **UNITS).fit(x[:, :20])


@pytest.mark.slow
def test_settings_changed_after_fit_need_another_fit(data):
    x = data[0][:2]
    features = PrimusFeatures(ENCODER, **UNITS).fit(x)
    plain = features.transform(x)
    features.set_params(encoder=tiny_encoder(window_seconds=2.5), head="mmcl")
    with pytest.raises(PrimusError, match=r"\['encoder', 'head'\] changed since fit"):
        features.transform(x)
    found = features.fit(x).transform(x)
    assert found.shape[1] == len(features.get_feature_names_out()) == ENCODER.config.width("mmcl")
    features.set_params(head="emb")
    np.testing.assert_array_equal(features.fit(x).transform(x), plain)
