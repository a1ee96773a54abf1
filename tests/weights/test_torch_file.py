"""The reader of `.pt` files: what PyTorch wrote, hostile pickles, damage."""

import os
import pickle
import zipfile

import numpy as np
import pytest
from support.random_weights import GOLDEN, assert_equal_trees, sine_tensors
from support.tiny_config import IMU2CLIP

from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.torch_names import from_torch_names
from primus_jax.weights.torch_file import read_torch_file


def test_reads_what_pytorch_wrote():
    tensors = read_torch_file(GOLDEN)
    expected = sine_tensors(IMU2CLIP)
    assert list(tensors) == list(expected)
    assert_equal_trees(tensors, expected)
    assert from_torch_names(tensors)[1] == IMU2CLIP


def test_golden_file_is_what_pytorch_writes(tmp_path):
    """This is how tests/golden/tiny_imu2clip.pt was made."""
    torch = pytest.importorskip("torch")
    from support.torch_imu_encoder import TorchEncoder

    module = TorchEncoder(IMU2CLIP)
    tensors = {name: torch.from_numpy(value) for name, value in sine_tensors(IMU2CLIP).items()}
    module.load_state_dict(tensors)
    torch.save(module.state_dict(), tmp_path / "tiny.pt")
    assert_equal_trees(read_torch_file(tmp_path / "tiny.pt"), read_torch_file(GOLDEN))


def test_dtypes_and_views_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float64).reshape(4, 6)
    tensors = {
        "view": base.T[1:5, ::2],
        "half": base[0].half(),
        "brain": base[1].bfloat16(),
        "whole": base.long(),
        "scalar": base[1, 1],
        "empty": base[:0],
    }
    torch.save(tensors, tmp_path / "views.pt")
    read = read_torch_file(tmp_path / "views.pt")
    for name, value in tensors.items():
        assert read[name].shape == tuple(value.shape)
        np.testing.assert_array_equal(read[name].astype(np.float64), value.double().numpy())


class Hostile:
    """Unpickling it calls `function(*arguments)`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_archive(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_hostile_pickles_run_nothing(protocol, tmp_path):
    marker = tmp_path / "ran"
    for payload in (
        Hostile(os.system, f"touch {marker}"),
        Hostile(eval, f"open({str(marker)!r}, 'w')"),
        Hostile(open, str(marker), "w"),
        {"net.0.weight": Hostile(os.mkdir, str(marker))},
    ):
        program = pickle.dumps(payload, protocol)
        path = write_archive(tmp_path / "hostile.pt", {"data.pkl": program})
        with pytest.raises(PrimusError, match="not a plain PyTorch file of weights"):
            read_torch_file(path)
        assert not marker.exists()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"ctorch.serialization\nload\n.", r"holds a torch.serialization.load"),
        (b"ctorch\nFloatStorage\n(tR.", "would call torch.FloatStorage"),
        (b"ccollections\nOrderedDict\n)\x81.", "holds a collections.OrderedDict"),
        (b"(S'touch ran'\nios\nsystem\n.", "instruction STRING"),
        (
            b"ctorch._utils\n_rebuild_tensor_v2\n}X\x08\x00\x00\x00__call__K\x01sb.",
            "holds a torch._utils",
        ),
        (b"}r\xff\xff\xff\x7fh\x00.", "nothing was stored under 0"),
        (b"}X\x01\x00\x00\x00aK\x01s.", "entry 'a' is a int"),
        (b"K\x01.", "holds a int"),
        (b"", "damaged"),
    ],
)
def test_pickles_that_are_no_state_dict(program, message, tmp_path):
    path = write_archive(tmp_path / "other.pt", {"data.pkl": program})
    with pytest.raises(PrimusError, match=message):
        read_torch_file(path)


def test_tensors_that_reach_outside_their_storage(tmp_path):
    with zipfile.ZipFile(GOLDEN) as archive:
        members = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}
    assert_equal_trees(
        read_torch_file(write_archive(tmp_path / "a.pt", members)), sine_tensors(IMU2CLIP)
    )
    shape, wrong = b"K\x06\x85", b"K\x07\x85"
    assert members["data.pkl"].count(shape) == 2
    for change in (
        {"data.pkl": members["data.pkl"].replace(shape, wrong, 1)},
        {"data/0": members["data/0"][:-4]},
        {"byteorder": b"big"},
    ):
        with pytest.raises(PrimusError, match=r"storage 0|little-endian"):
            read_torch_file(write_archive(tmp_path / "a.pt", members | change))
    del members["data/0"]
    with pytest.raises(PrimusError, match=r"numbers of net.0.weight are missing"):
        read_torch_file(write_archive(tmp_path / "a.pt", members))


def test_truncated_and_flipped_files(tmp_path):
    """Whatever happened to a file, it is refused or gives the same tensors."""
    content, expected = GOLDEN.read_bytes(), sine_tensors(IMU2CLIP)
    path = tmp_path / "damaged.pt"
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        with pytest.raises(PrimusError):
            read_torch_file(path)
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(8 * len(content), size=600):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        try:
            tensors = read_torch_file(path)
        except PrimusError:
            refused += 1
        else:
            assert_equal_trees(tensors, expected)
    assert refused > 100


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PrimusError, match="No such file"):
        read_torch_file(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(PrimusError, match="not a zip file"):
        read_torch_file(tmp_path / "text.pt")


@pytest.mark.parametrize(
    "keys", [["net"], ["network"], ["ema"], ["module", "state"], ["state_dict_ema"], ["a", "b"]]
)
def test_a_state_dict_under_any_key_is_found(keys, tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(value) for name, value in sine_tensors(IMU2CLIP).items()}
    content = {**tensors}
    for key in keys:
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "any.pt")
    found = load_encoder(tmp_path / "any.pt", rate_hz=50, window_seconds=5.2)
    assert found.config == IMU2CLIP


def test_several_state_dicts_are_listed_and_chosen(tmp_path):
    torch = pytest.importorskip("torch")
    student = {name: torch.from_numpy(value) for name, value in sine_tensors(IMU2CLIP).items()}
    teacher = {name: value + 1 for name, value in student.items()}
    path = tmp_path / "both.pt"
    torch.save({"teacher": teacher, "student": student, "lr": 0.1}, path)
    with pytest.raises(PrimusError, match=r"2 IMU encoders.*'student\.'.*'teacher\.'"):
        load_encoder(path)
    found = load_encoder(path, prefix="student.", rate_hz=50, window_seconds=5.2)
    assert_equal_trees(found.params, from_torch_names(sine_tensors(IMU2CLIP))[0])


@pytest.mark.parametrize("name", ["weights.pt", "model.safetensors"])
def test_a_pointer_of_git_lfs_is_named(name, tmp_path):
    path = tmp_path / name
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1234\n")
    with pytest.raises(PrimusError, match=r"is a Git LFS pointer of \d+ bytes.*git lfs pull"):
        load_encoder(path)
