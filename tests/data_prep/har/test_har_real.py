"""Readers of the official files against packs that were made of the same recordings."""

from collections import Counter

import numpy as np
import pytest

from data_prep.har import SOURCES
from data_prep.user.packs import read_pack
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.window import resample

# windows of 2 s
WINDOWS = {"usc_had": 370, "dsads": 150, "utd_mhad": 7, "sisfall": 69, "classyglass": 152}
# name -> pack, recordings, recordings that the pack has
REAL = {
    "usc_had": ("usc_had", 24, 24),
    "dsads": ("dsads", 30, 18),
    "utd_mhad": ("utd_mhad", 6, 6),
    "sisfall": ("sisfall", 4, 4),
    "classyglass": ("classyglass1", 3, 3),
}


@pytest.mark.parametrize("name", REAL)
def test_the_same_recordings_as_the_pack(name, shared_data):
    pack_name, count, in_pack = REAL[name]
    pack = read_pack(shared_data / f"{pack_name}.npz")
    scale = np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3)
    several = len(set(pack["placement"].tolist())) > 1 and name == "dsads"
    rows = {}
    for row, (stem, place) in enumerate(zip(pack["recording"], pack["placement"], strict=True)):
        rows[f"{stem}/{place}" if several else str(stem)] = row
    drops = Counter()
    recordings = list(SOURCES[name].recordings(shared_data / "raw" / name, drops))
    assert len(recordings) == count
    assert not +drops
    compared = 0
    for r in recordings:
        stem = r.id.removeprefix(f"{name}/").removeprefix("1A/")
        if stem not in rows:
            assert "left" in r.placement
            continue
        compared += 1
        row = rows[stem]
        assert r.subject == f"{name}/{pack['subject'][row]}"
        assert r.label == pack["label"][row]
        assert r.placement == pack["placement"][row]
        first, last = pack["offsets"][row : row + 2]
        signal, packed = r.signal, pack["signal"][first:last] * scale
        same_rate = r.rate_hz == pack["rate_hz"]
        if not same_rate:
            # The pack was resampled by another filter, and its sensors were joined by a line, which
            # loses a little of fast movements: compare the band that both keep.
            packed = resample(packed, float(pack["rate_hz"]), 25.0)[5:-5]
            signal = resample(r.signal, r.rate_hz, 25.0)[5:-5]
        # the raw sample of DSADS holds the first two of 60 segments
        samples = min(len(signal), len(packed))
        assert name == "dsads" or abs(len(signal) - len(packed)) <= 1
        error = np.abs(signal[:samples] - packed[:samples]) / scale
        assert error.max() <= 0.51 if same_rate else np.percentile(error, 95) < 1
        assert error.mean() < 0.35
    assert compared == in_pack


def test_gravity_at_rest(shared_data):
    recordings = SOURCES["usc_had"].recordings(shared_data / "raw" / "usc_had", Counter())
    still = [r for r in recordings if r.label in ("sitting", "standing", "sleeping")]
    assert len(still) == 6
    for r in still:
        assert np.linalg.norm(r.signal[:, :3], axis=1).mean() == pytest.approx(9.81, abs=0.6)
        assert np.median(np.linalg.norm(r.signal[:, 3:], axis=1)) < 0.2


@pytest.mark.parametrize("name", REAL)
def test_prepare_from_the_official_files(name, shared_data, tmp_path):
    out = tmp_path / name
    command = ["prepare", name, "--raw", str(shared_data / "raw" / name), "--out", str(out)]
    assert main([*command, "--window", "2", "--splits", "1", "0", "0"]) == 0
    folder = DatasetFolder(out)
    assert folder.splits["train"] == WINDOWS[name]
    assert folder.rate_hz == 50
