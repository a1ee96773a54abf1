"""Feet that walk with known times, and the real ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.gait import SWING, feet, foot, pack_of_feet

from data_prep.gait.events import foot_events
from data_prep.gait.strides import TARGETS, stride_targets
from data_prep.user.packs import NO_FEET, Packs
from primus_jax.cli import main
from primus_jax.errors import PrimusError

PACK = Path(__file__).parents[4] / "shared/data/gait_feet.npz"


@pytest.mark.parametrize(("stride", "rate_hz", "seed"), [(1.1, 50.0, 0), (1.3, 100.0, 1)])
def test_events_of_a_foot_at_any_angle(stride, rate_hz, seed):
    imu, off, strike = foot(stride, 0.6, 12.0, rate_hz, seed)
    found = foot_events(imu, rate_hz)
    np.testing.assert_allclose(found.toe_off, off, atol=0.02)
    np.testing.assert_allclose(found.heel_strike, strike, atol=0.02)


@pytest.mark.parametrize("stride", [0.95, 1.1, 1.4])
def test_times_of_strides(stride):
    found = stride_targets(*feet(stride), 50.0)
    stance = stride - SWING
    for name, expected in zip(TARGETS, (stride, stance, 2 * (stance - stride / 2)), strict=True):
        assert len(found[name]) >= 2 * (int(11 / stride) - 2)
        np.testing.assert_allclose(found[name][:, 1], expected, atol=0.04)
        assert abs(found[name][:, 1].mean() - expected) < 0.02
        assert (np.diff(found[name][:, 0]) > 0).all()


def test_standing_has_no_strides_and_one_foot_none():
    rng = np.random.default_rng(0)
    still = np.concatenate([np.full((500, 3), 5.7), np.zeros((500, 3))], 1)
    still = still + rng.normal(0, 0.05, still.shape)
    left, _ = feet(1.1, seconds=10.0)
    assert not len(foot_events(still, 50.0).toe_off)
    assert all(len(known) == 0 for known in stride_targets(still, still, 50.0).values())
    assert all(len(known) == 0 for known in stride_targets(left, still, 50.0).values())
    assert not len(foot_events(still[:20], 50.0).toe_off)


def test_strides_that_lost_samples_are_left_out():
    left, right = feet(1.1, seconds=14.0)
    lost = np.r_[0:300, 330:700]  # both lose 0.6 s
    found = stride_targets(left[lost], right[lost], 50.0)["stride_time"]
    assert len(found)
    np.testing.assert_allclose(found[:, 1], 1.1, atol=0.04)


def test_what_is_not_a_pair_of_feet():
    left, right = feet(1.1)
    with pytest.raises(PrimusError, match=r"600 samples of the left and 500 of the right foot"):
        stride_targets(left, right[:500], 50.0)
    with pytest.raises(PrimusError, match=r"at 12\.5 Hz; expected 25 Hz at least"):
        foot_events(left[::4], 12.5)


def test_a_pack_gives_the_back_the_times_of_the_feet(tmp_path):
    packs = Packs(
        [pack_of_feet(tmp_path / "walks.npz")], placements=["back"], feet=["left", "right"]
    )
    for k, recording in enumerate(packs):
        assert recording.placement == "back"
        assert tuple(recording.targets) == TARGETS
        assert abs(recording.targets["stride_time"][:, 1].mean() - (1.0 + 0.1 * k)) < 0.02
    assert not packs.drops[NO_FEET]
    with pytest.raises(PrimusError, match="no recording has the placement 'shoe'"):
        list(Packs(packs.paths, feet=["shoe", "right"]))


def test_the_back_predicts_the_strides_of_people_left_out(tmp_path, capsys):
    pack, data, out = pack_of_feet(tmp_path / "walks.npz"), tmp_path / "data", tmp_path / "out"
    words = ["--gait", "left", "right", "--placement", "back", "--splits", "1", "0", "0"]
    words += ["--window", "4", "--hop", "2"]
    assert main(["prepare", "pack", str(pack), *words, "--out", str(data)]) == 0
    words = ["--hand-features", "--data", str(data), "--target", "stride_time", "--seeds", "1"]
    assert main(["regress", *words, "--out", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    mean, hand = (row for row in rows if row["level"] == "person")
    assert mean["people_tested"] == hand["people_tested"] == 4
    assert hand["mae"] < 0.8 * mean["mae"]
    assert "stride_time, stance_time, double_support_time" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(not PACK.is_file(), reason="the pack of real feet is not there")
def test_real_feet():
    """19 adults: means of each stay within what is published of healthy walking."""
    packs = Packs(
        [PACK],
        placements=["lower back"],
        drop_labels=["standing"],
        feet=["left foot", "right foot"],
    )
    times: dict[str, list[np.ndarray]] = {}
    for recording in packs:
        if recording.label == "walking":
            known = np.stack([recording.targets[name][:, 1] for name in TARGETS], 1)
            times.setdefault(recording.subject, []).append(known)
    mean = np.stack([np.concatenate(found).mean(0) for found in times.values()])
    assert mean.shape == (19, 3)
    stride, stance, double = mean.T
    assert (stride > 0.9).all()
    assert (stride < 1.45).all()
    share = stance / stride
    assert (share > 0.55).all()
    assert (share < 0.67).all()
    assert (double > 0.12).all()
    assert (double < 0.4).all()
    assert sum(len(np.concatenate(found)) for found in times.values()) > 2300
