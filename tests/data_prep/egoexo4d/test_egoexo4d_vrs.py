"""Aria VRS files, read by Meta's own reader."""

from collections import Counter

import numpy as np
import pytest
from support.aria_vrs import write_vrs
from support.egoexo4d_corpus import check_motion, corpus_of
from support.miniature_egoexo4d import (
    FakeTake,
    motion,
    write_download,
)

from data_prep.egoexo4d import export, vrs
from primus_jax.errors import PrimusError

needs_reader = pytest.mark.skipif(
    not vrs.installed(), reason="Meta's VRS reader (pip install 'primus-jax[aria]') is missing"
)


def file_of(raw, take):
    return raw / "takes" / take.name / "aria01_noimagestreams.vrs"


@needs_reader
@pytest.mark.parametrize("stream", ["right", "left"])
def test_a_take_is_read_from_its_vrs_file(tmp_path, stream):
    take = FakeTake(
        "a_b_1", imu="vrs", streams=["right", "left"], clock_error=0.004, offset=0.3, jitter=0.2
    )
    raw = write_download(tmp_path / "raw", [take])
    for source in ("auto", "vrs"):
        (recording,), _ = corpus_of(raw, "--imu", source, "--stream", stream).recordings(take.uid)
        check_motion([recording])
        assert recording.narrations
    assert corpus_of(raw, "--imu", "csv").recordings(take.uid)[0] == []


@needs_reader
def test_values_and_invalid_rows_survive(tmp_path):
    stamps = 10**12 + np.arange(500) * 1_000_000
    signal = motion(np.arange(500) / 1000).astype(np.float32)
    signal[100:103] = np.nan
    path = tmp_path / "x.vrs"
    write_vrs(path, {1: (1000.0, stamps, signal)})
    found = vrs.read_vrs(path, "right", Counter())
    np.testing.assert_array_equal(found.stamps, stamps)
    np.testing.assert_array_equal(found.signal, signal)
    with pytest.raises(PrimusError, match=r"no stream 1202-2 \(imu-left\)"):
        vrs.read_vrs(path, "left", Counter())


@needs_reader
def test_csv_files_are_exported(tmp_path, capsys):
    take = FakeTake("a_b_1", imu="vrs", streams=["right", "left"], jitter=0.2)
    raw = write_download(tmp_path / "raw", [take])
    (before,), _ = corpus_of(raw).recordings(take.uid)
    assert export.main([str(raw)]) == 0
    file_of(raw, take).unlink()
    (after,), _ = corpus_of(raw, "--imu", "csv").recordings(take.uid)
    np.testing.assert_allclose(after.signal, before.signal, atol=2e-6)
    assert after.narrations == before.narrations
    assert capsys.readouterr().out == "2 files written, 0 failed\n"
    file_of(raw, take).write_bytes(b"VisionRe" + bytes(100))
    assert export.main([str(raw)]) == 0
    (raw / "takes" / take.name / "aria01_imu-left.csv").unlink()
    assert export.main([str(raw)]) == 1
    assert "not a readable Aria VRS file" in capsys.readouterr().err
    assert export.main([str(tmp_path)]) == 1


@needs_reader
def test_damaged_files_are_named(tmp_path):
    take = FakeTake("a_b_1", imu="vrs")
    raw = write_download(tmp_path / "raw", [take])
    path = file_of(raw, take)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    (recording,), drops = corpus_of(raw).recordings(take.uid)
    # what is there of an unfinished download is read, and counted as short
    assert 4 < len(recording.signal) / 1000 < 8
    assert drops["takes of which the IMU covers less than 99 % (the rest is kept)"] == 1
    path.write_bytes(b"VisionRe" + bytes(100))
    with pytest.raises(PrimusError, match=r"noimagestreams\.vrs: not a readable Aria VRS file"):
        corpus_of(raw).recordings(take.uid)


@pytest.mark.skipif(vrs.installed(), reason="Meta's VRS reader is installed")
def test_without_the_reader_the_extra_is_named(tmp_path):
    take = FakeTake("a_b_1", imu="vrs")
    raw = write_download(tmp_path / "raw", [take])
    with pytest.raises(PrimusError, match=r"pip install 'primus-jax\[aria\]'"):
        corpus_of(raw).recordings(take.uid)
