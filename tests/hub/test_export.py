"""Names and layouts of PyTorch, the export folder, and the reader of `.pt` files."""

import dataclasses
import hashlib
import itertools
import json
import math
import os
import pickle
import zipfile
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.folder import read_folder, write_folder
from primus_jax.hub.layout import layout
from primus_jax.hub.loading import read_encoder
from primus_jax.hub.torch_names import from_torch_names, to_torch_names
from primus_jax.models.released import CHOICES, ReleasedConfig
from primus_jax.weights.torch_file import read_torch_file

GOLDEN = Path(__file__).parents[1] / "golden" / "tiny_imu2clip.pt"
TINY = ReleasedConfig(channels=4, embed_dim=3, bins=5, third_pool="max", multihead=False)
ABOUT = {"rate_hz": 50, "window_seconds": 5, "provenance": {"steps": 7}}
CONFIGS = [
    ReleasedConfig(readout=readout, multihead=multihead, channels=4, bins=6, embed_dim=5)
    for readout, multihead in itertools.product(CHOICES["readout"], (True, False))
]


def random_params(config, seed=0):
    window = np.zeros((1, config.sample_range()[0], 6), np.float32)
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), window)["params"]
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def sine_tensors(config):
    return {
        name: np.sin(np.arange(math.prod(shape), dtype=np.float32)).reshape(shape)
        for name, (_, shape) in layout(config).items()
    }


def assert_equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


def test_names_and_shapes_of_the_released_encoder():
    gru = {"weight_ih_l0": (1536, 32), "weight_hh_l0": (1536, 512)}
    gru |= {"bias_ih_l0": (1536,), "bias_hh_l0": (1536,)}
    expected = {"backbone.0.weight": (6,), "backbone.0.bias": (6,)}
    expected |= {"backbone.1.net.0.weight": (32, 6, 10), "backbone.2.net.0.weight": (32, 32, 5)}
    expected |= {"backbone.3.net.0.weight": (32, 32, 5)}
    expected |= {"backbone.4.weight": (32,), "backbone.4.bias": (32,)}
    expected |= {f"backbone.5.{name}": shape for name, shape in gru.items()}
    for head in ("ssl", "mmcl"):
        expected |= {f"{head}_head.weight": (512, 512), f"{head}_head.bias": (512,)}
    tensors = to_torch_names(random_params(ReleasedConfig()), ReleasedConfig())
    assert {name: value.shape for name, value in tensors.items()} == expected


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.readout}-{c.multihead}")
def test_round_trip_is_exact(config):
    params = random_params(config)
    tensors = to_torch_names(params, config)
    again, same = from_torch_names(tensors, config)
    assert same == config
    assert_equal(again, params)


def test_released_architectures_are_recognised():
    primus = ReleasedConfig(channels=8, bins=6, embed_dim=5)
    imu2clip = ReleasedConfig(channels=8, bins=6, embed_dim=5, third_pool="max", multihead=False)
    for config in (primus, imu2clip):
        assert from_torch_names(sine_tensors(config))[1] == config
    with pytest.raises(PrimusError, match="not the weights of an IMU encoder; found conv"):
        from_torch_names({"conv": np.zeros(3)})


def test_every_fault_is_listed_once():
    config = CONFIGS[0]
    tensors = sine_tensors(config)
    del tensors["backbone.4.bias"]
    tensors["ssl_head.weight"] = np.zeros((5, 4), np.float32)
    tensors["ssl_head.bias"] = np.full(5, np.nan, np.float32)
    tensors["mmcl_head.bias"] = np.zeros(5, np.int64)
    tensors["video.weight"] = np.zeros(2, np.float32)
    with pytest.raises(PrimusError) as error:
        from_torch_names(tensors, config)
    for fault in (
        "missing: backbone.4.bias [4]",
        "of the wrong shape: ssl_head.weight [5, 4] instead of [5, 5]",
        "holding NaN or infinity: ssl_head.bias",
        "not floating point: mmcl_head.bias int64",
        "unexpected: video.weight [2]",
    ):
        assert str(error.value).count(fault) == 1
    with pytest.raises(
        PrimusError, match=r"missing: pool.weight .* unexpected: gru/b_hh .* gru/w_ih"
    ):
        to_torch_names(
            random_params(config), ReleasedConfig(readout="pool", channels=4, embed_dim=5)
        )


def test_folder_round_trip(tmp_path):
    config = CONFIGS[0]
    params = random_params(config)
    description = write_folder(tmp_path / "out", params, config, head="mmcl", **ABOUT)
    again, same, read = read_folder(tmp_path / "out")
    assert_equal(again, params)
    assert same == config
    assert read == description == json.loads((tmp_path / "out" / "config.json").read_text())
    assert read["provenance"] == {"steps": 7}
    assert read["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(PrimusError, match="already exists"):
        write_folder(tmp_path / "out", params, config, **ABOUT)
    write_folder(tmp_path / "out", random_params(config, 1), config, overwrite=True, **ABOUT)
    assert_equal(read_folder(tmp_path / "out")[0], random_params(config, 1))


def test_equal_parameters_are_equal_files_whatever_made_them(tmp_path):
    params = random_params(TINY)
    for number in range(8):
        about = ABOUT | {
            "provenance": {"step": number, "data": {f"/data/{number}": {"splits": {}}}},
            "metrics": {"validation_loss": 1.0 / (number + 1)},
        }
        write_folder(tmp_path / f"{number}", params, TINY, **about)
    weights = {(path / "model.safetensors").read_bytes() for path in tmp_path.iterdir()}
    assert len(weights) == 1
    # PyTorch and the library of safetensors read the file.
    read = load_file(tmp_path / "0" / "model.safetensors")
    expected = to_torch_names(params, TINY)
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor)


def test_a_lone_weights_file_tells_the_encoder_and_not_its_training(tmp_path):
    params = random_params(TINY)
    about = ABOUT | {"head": TINY.heads[0], "licence": "MIT", "metrics": {"validation_loss": 2.0}}
    whole = write_folder(tmp_path / "out", params, TINY, **about)
    lone = tmp_path / "elsewhere" / "weights.safetensors"
    lone.parent.mkdir()
    lone.write_bytes((tmp_path / "out" / "model.safetensors").read_bytes())
    again, config, description = read_encoder(lone)
    assert_equal(again, params)
    assert config == TINY
    told = ("rate_hz", "window_seconds", "head", "license", "units", "channels", "parameters")
    assert {name: description[name] for name in told} == {name: whole[name] for name in told}
    assert "provenance" not in description
    # Beside the config.json that was written with it, nothing is lost.
    beside = read_encoder(tmp_path / "out" / "model.safetensors")[2]
    assert beside["provenance"] == {"steps": 7}
    assert beside["metrics"] == {"validation_loss": 2.0}
    # Another config.json is not believed.
    (lone.parent / "config.json").write_text('{"weights_sha256": "0", "provenance": {"steps": 9}}')
    assert "provenance" not in read_encoder(lone)[2]


def test_a_weights_file_of_before_tells_its_training(tmp_path):
    params = random_params(TINY)
    whole = write_folder(tmp_path / "out", params, TINY, **ABOUT)
    header = {"format": "pt", "primus_jax": json.dumps(whole)}
    save_file(to_torch_names(params, TINY), tmp_path / "old.safetensors", metadata=header)
    again, config, description = read_encoder(tmp_path / "old.safetensors")
    assert_equal(again, params)
    assert (config, description["provenance"]) == (TINY, {"steps": 7})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate_hz": 0}, "rate_hz is 0.0"),
        ({"window_seconds": math.nan}, "window_seconds is nan"),
        ({"head": "video"}, "head is 'video'"),
        ({"provenance": {"loss": math.inf}}, "provenance cannot be written"),
        ({"provenance": {"params": np.zeros(2)}}, "provenance cannot be written"),
        ({"provenance": {"data": 5}}, r"provenance\.data is 5"),
        ({"config": ReleasedConfig()}, "these are not the weights"),
    ],
)
def test_nothing_is_written_of_a_wrong_export(change, message, tmp_path):
    arguments = {"params": random_params(CONFIGS[0]), "config": CONFIGS[0]} | ABOUT | change
    with pytest.raises(PrimusError, match=message):
        write_folder(tmp_path / "out", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_damaged_folders_are_refused(tmp_path):
    folder = tmp_path / "out"
    write_folder(folder, random_params(CONFIGS[0]), CONFIGS[0], **ABOUT)
    weights, text = (
        (folder / "model.safetensors").read_bytes(),
        (folder / "config.json").read_text(),
    )
    description = json.loads(text)

    def refused(name, content, message):
        (folder / name).write_bytes(content)
        with pytest.raises(PrimusError, match=message):
            read_folder(folder)
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "config.json").write_text(text)

    flipped = bytearray(weights)
    flipped[-5] ^= 1
    refused("model.safetensors", bytes(flipped), "damaged or was replaced")
    refused("model.safetensors", weights[:-100], "damaged or was replaced")
    refused("config.json", text[:50].encode(), "is not JSON")
    for change, message in (
        ({"format": "another"}, "format 'another'; expected"),
        ({"encoder": {"bins": 32}}, "whose kind is one of"),
        ({"encoder": {"kind": "released", "bins": 32}}, "expected the keys"),
        ({"encoder": description["encoder"] | {"bins": 0}}, "encoder.bins is 0"),
        ({"rate_hz": "50"}, "rate_hz is '50'"),
        ({"weights_sha256": None}, "damaged or was replaced"),
    ):
        refused("config.json", json.dumps(description | change).encode(), message)
    short = weights[:-100]
    digest = {"weights_sha256": hashlib.sha256(short).hexdigest()}
    (folder / "config.json").write_text(json.dumps(description | digest))
    refused("model.safetensors", short, "not a whole safetensors file")
    (folder / "model.safetensors").unlink()
    with pytest.raises(PrimusError, match=r"has no model.safetensors"):
        read_folder(folder)


def test_a_folder_from_before_heads_had_a_width_still_loads(tmp_path):
    write_folder(tmp_path / "out", random_params(CONFIGS[0]), CONFIGS[0], **ABOUT)
    path = tmp_path / "out" / "config.json"
    description = json.loads(path.read_text())
    encoder = description["encoder"]
    assert encoder.pop("head_dim") == 0
    description["encoder"] = {"trunk": encoder.pop("kind"), **encoder}
    description["format"] = "primus-jax encoder 1"
    path.write_text(json.dumps(description))
    assert read_folder(tmp_path / "out")[1] == CONFIGS[0]


@pytest.mark.parametrize("norm", CHOICES["norm"])
def test_folder_and_lone_weights_tell_the_norm(norm, tmp_path):
    config = dataclasses.replace(CONFIGS[0], norm=norm)
    params = random_params(config)
    described = write_folder(tmp_path / "out", params, config, **ABOUT)
    assert f"{norm.capitalize()}Norm" in described["normalisation"]
    assert read_folder(tmp_path / "out")[1] == config
    assert load_encoder(tmp_path / "out" / "model.safetensors").config == config


def test_a_folder_from_before_there_was_a_norm_to_choose_still_loads(tmp_path):
    torch = pytest.importorskip("torch")
    from primus_jax.hub.modeling_primus import PrimusEncoder

    write_folder(tmp_path / "out", random_params(CONFIGS[0]), CONFIGS[0], **ABOUT)
    path = tmp_path / "out" / "config.json"
    imu = torch.ones(1, 200, 6)
    then = PrimusEncoder.from_pretrained(tmp_path / "out").embed(imu)
    description = json.loads(path.read_text())
    assert description["encoder"].pop("norm") == "group"
    path.write_text(json.dumps(description))
    assert read_folder(tmp_path / "out")[1] == CONFIGS[0]
    assert torch.equal(PrimusEncoder.from_pretrained(tmp_path / "out").embed(imu), then)


def test_pytorch_loads_the_export(tmp_path):
    torch = pytest.importorskip("torch")
    from support.torch_imu_encoder import TorchEncoder

    for config in (CONFIGS[0], CONFIGS[3], CONFIGS[4]):
        params = random_params(config)
        write_folder(tmp_path / config.readout, params, config, **ABOUT)
        tensors = load_file(tmp_path / config.readout / "model.safetensors")
        module = TorchEncoder(config)
        module.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()})
        imu = np.random.default_rng(0).normal(size=(2, 200, 6)).astype(np.float32)
        expected = module(torch.from_numpy(imu))
        outputs = jax.jit(config.build().apply)({"params": params}, imu)
        for head, value in expected.items():
            np.testing.assert_allclose(outputs[head], value.detach(), rtol=1e-5, atol=1e-5)


def test_reads_what_pytorch_wrote():
    tensors = read_torch_file(GOLDEN)
    expected = sine_tensors(TINY)
    assert list(tensors) == list(expected)
    assert_equal(tensors, expected)
    assert from_torch_names(tensors)[1] == TINY


def test_golden_file_is_what_pytorch_writes(tmp_path):
    """This is how tests/golden/tiny_imu2clip.pt was made."""
    torch = pytest.importorskip("torch")
    from support.torch_imu_encoder import TorchEncoder

    module = TorchEncoder(TINY)
    tensors = {name: torch.from_numpy(value) for name, value in sine_tensors(TINY).items()}
    module.load_state_dict(tensors)
    torch.save(module.state_dict(), tmp_path / "tiny.pt")
    assert_equal(read_torch_file(tmp_path / "tiny.pt"), read_torch_file(GOLDEN))


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
    assert_equal(read_torch_file(write_archive(tmp_path / "a.pt", members)), sine_tensors(TINY))
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
    content, expected = GOLDEN.read_bytes(), sine_tensors(TINY)
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
            assert_equal(tensors, expected)
    assert refused > 100


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(PrimusError, match="No such file"):
        read_torch_file(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(PrimusError, match="not a zip file"):
        read_torch_file(tmp_path / "text.pt")
