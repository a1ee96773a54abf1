"""Folders of pictures: odd modes and broken files, three layouts, and MoCo through the CLI."""

import io
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from data_prep.images.decode import decode
from data_prep.images.write import write_image_folder
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.images import ImageFolder
from primus_jax.data.metadata import read_metadata
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError


def encoded(values, mode="RGB", kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(values).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pictures():
    draws = np.random.default_rng(0).integers(0, 256, (12, 40, 50, 3), np.uint8)
    return [encoded(draw) for draw in draws]


@pytest.mark.parametrize(
    ("mode", "kind"), [("P", "PNG"), ("L", "PNG"), ("1", "PNG"), ("CMYK", "JPEG"), ("LA", "PNG")]
)
def test_every_mode_becomes_the_same_colours(mode, kind):
    grey = np.full((40, 50, 3), 255, np.uint8)
    found = decode(encoded(grey, mode, kind))
    assert found.shape == (96, 128, 3)
    np.testing.assert_allclose(found, 255, atol=2)


def test_sixteen_bits_keep_their_range_and_the_transparent_is_black():
    deep = io.BytesIO()
    Image.fromarray(np.full((8, 8), 65535 // 2, np.uint16)).save(deep, "PNG")
    np.testing.assert_allclose(decode(deep.getvalue()), 127, atol=1)
    clear = io.BytesIO()
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(clear, "PNG")
    assert not decode(clear.getvalue()).any()


def test_the_first_frame_of_an_animation_counts():
    buffer = io.BytesIO()
    first, second = Image.new("RGB", (9, 9), (255, 0, 0)), Image.new("RGB", (9, 9), (0, 0, 255))
    first.save(buffer, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(decode(buffer.getvalue())[0, 0], [255, 0, 0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory, pictures):
    """Nine pictures in a tree, three broken files, and what `prepare images` makes of them."""
    root = tmp_path_factory.mktemp("pictures")
    for number, data in enumerate(pictures[:9]):
        path = root / "raw" / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "raw" / "notes.txt").write_text("no picture")
    (root / "raw" / "empty.jpg").write_bytes(b"")
    (root / "raw" / ".DS_Store").write_bytes(b"hidden")
    (root / "raw" / "cut.png").write_bytes(pictures[9][: len(pictures[9]) // 2])
    code = main(["prepare", "images", str(root / "raw"), "--out", str(root / "out")])
    assert code == 0
    return root / "out"


def test_broken_files_are_counted(folder):
    found = ImageFolder(folder)
    assert sum(found.splits.values()) == 9
    assert found.metadata.drops == {"damaged pictures": 1, "not a picture": 2}
    record = found.source("train")[0]
    assert record["image"].shape == (96, 128, 3)
    assert record["name"].endswith(".png")


def test_tar_and_parquet_hold_the_same_pictures(tmp_path, pictures):
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        for number, data in enumerate(pictures):
            for name, content in ((f"{number:02}.png", data), (f"{number:02}.cls", b"1")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    images = pa.array([{"bytes": data, "path": None} for data in pictures])
    pq.write_table(pa.table({"image": images}), tmp_path / "all.parquet")
    made = [
        write_image_folder([tmp_path / f"all.{kind}"], tmp_path / kind, validation=0.0)
        for kind in ("tar", "parquet")
    ]
    first, second = (one.source("train") for one in made)
    assert len(first) == len(second) == 12
    for ours, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])


def test_what_cannot_be_prepared_is_a_sentence(tmp_path, folder):
    (tmp_path / "only.txt").write_text("words")
    with pytest.raises(PrimusError, match="no whole picture for training"):
        write_image_folder([tmp_path / "only.txt"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(PrimusError, match="no such file or folder"):
        write_image_folder([tmp_path / "nothing"], tmp_path / "out")
    with pytest.raises(PrimusError, match="holds pictures"):
        DatasetFolder(folder)
    with pytest.raises(PrimusError, match=r"images\.json does not exist"):
        ImageFolder(tmp_path)
    with pytest.raises(PrimusError, match="metadata"):
        read_metadata(tmp_path)


@pytest.mark.slow
def test_moco_trains_resumes_and_its_encoder_is_evaluated(folder, simulated, tmp_path):
    from pathlib import Path

    recipe = Path(__file__).parents[3] / "configs" / "img2imu_small.py"
    run, encoder = tmp_path / "run", tmp_path / "encoder"
    words = [
        "pretrain", "--config", str(recipe), "--workdir", str(run),
        f"--config.data.train=('{folder}',)", "--config.data.batch_size=4",
        "--config.objective.queue_size=8", "--config.encoder.channels=4",
        "--config.encoder.nfft=64",
        "--config.encoder.overlap=56",
        "--config.checkpoint.every=1", "--config.devices=1", "--config.optim.schedule=constant",
        "--config.optim.warmup_steps=0",
    ]  # fmt: skip
    assert main([*words, "--config.steps=1"]) == 0
    assert main([*words, "--config.steps=2"]) == 0
    assert main(["export", str(run), "--to", str(encoder), "--checkpoint", "latest",
                 "--rate", "50", "--window", "2.6"]) == 0  # fmt: skip
    loaded = load_encoder(encoder)
    assert loaded.rate_hz == 50
    windows = np.random.default_rng(0).normal(size=(2, 130, 6)).astype(np.float32)
    assert np.isfinite(loaded.encode_windows(windows)).all()
    scored = ["fewshot", "--encoder", f"moco={encoder}", "--data", str(simulated)]
    assert main([*scored, "--shots", "1", "--seeds", "1", "--out", str(tmp_path / "few")]) == 0
