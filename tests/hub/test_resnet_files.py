"""Files of ResNet weights: torchvision, timm, Hugging Face, MoCo, and what is none of them."""

import re

import jax
import numpy as np
import pytest
from support.random_weights import GOLDEN

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.layout import resnet_layout
from primus_jax.hub.resnet import from_torchvision, read_resnet, read_vision, to_torchvision
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import ResNetConfig
from primus_jax.weights.safetensors import write_safetensors

TINY = ResNetConfig(width=2, classes=3)
TINY50 = ResNetConfig(depth=50, width=2)


def tensors_of(config, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=shape).astype(np.float32)
        for name, (_, shape) in resnet_layout(config).items()
    }


def write(path, tensors):
    write_safetensors(tensors, path, {})
    return path


def assert_reads(path, tensors, config):
    params, found = read_resnet(path)
    assert found == config
    jax.tree.map(np.testing.assert_array_equal, params, from_torchvision(tensors)[0])


def hugging_face(name):
    """Their name of one of torchvision's tensors."""
    for pattern, words in (
        (r"^conv1\.", "embedder.embedder.convolution."),
        (r"^bn1\.", "embedder.embedder.normalization."),
        (r"\.downsample\.0\.", ".shortcut.convolution."),
        (r"\.downsample\.1\.", ".shortcut.normalization."),
        (r"\.conv(\d)\.", lambda found: f".layer.{int(found[1]) - 1}.convolution."),
        (r"\.bn(\d)\.", lambda found: f".layer.{int(found[1]) - 1}.normalization."),
        (r"^layer(\d)\.", lambda found: f"encoder.stages.{int(found[1]) - 1}.layers."),
    ):
        name = re.sub(pattern, words, name)
    return f"classifier.1.{name[3:]}" if name.startswith("fc.") else f"resnet.{name}"


@pytest.mark.parametrize("config", [TINY, TINY50], ids=["18", "50"])
def test_names_and_layouts_both_ways(config):
    tensors = tensors_of(config)
    params, found = from_torchvision(tensors)
    assert found == config
    kernel = params["layer2_0"]["conv1"]["kernel"]
    expected = tensors["layer2.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(kernel, expected)
    again = to_torchvision(params, config)
    assert list(again) == list(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(again[name], value)


@pytest.mark.parametrize("config", [TINY, TINY50], ids=["18", "50"])
def test_safetensors_of_timm_and_hugging_face(tmp_path, config):
    tensors = tensors_of(config)
    timm = tensors | {"bn1.num_batches_tracked": np.float32(3)}
    assert_reads(write(tmp_path / "timm.safetensors", timm), tensors, config)
    theirs = {hugging_face(name): value for name, value in tensors.items()}
    assert "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight" in theirs
    theirs["resnet.encoder.stages.0.layers.0.layer.0.normalization.num_batches_tracked"] = (
        np.float32(3)
    )
    assert_reads(write(tmp_path / "model.safetensors", theirs), tensors, config)


def test_files_of_torch_save(tmp_path):
    torch = pytest.importorskip("torch")
    from support.torch_resnet import TorchResNet

    module = TorchResNet(TINY)
    tensors = {name: x.numpy() for name, x in module.state_dict().items()}
    tensors = {name: tensors[name] for name in resnet_layout(TINY)}
    torch.save(module.state_dict(), tmp_path / "resnet18.pth")
    assert_reads(tmp_path / "resnet18.pth", tensors, TINY)
    parallel = {f"module.{name}": x for name, x in module.state_dict().items()}
    torch.save({"state_dict": parallel, "epoch": 3}, tmp_path / "parallel.pth.tar")
    assert_reads(tmp_path / "parallel.pth.tar", tensors, TINY)


def test_the_query_encoder_of_a_moco_checkpoint(tmp_path):
    query, key = tensors_of(ResNetConfig(width=2)), tensors_of(ResNetConfig(width=2), 1)
    file = {f"module.encoder_q.{name}": value for name, value in query.items()}
    file |= {f"module.encoder_k.{name}": value for name, value in key.items()}
    file |= {
        "module.queue": np.zeros((4, 8), np.float32),
        "module.encoder_q.fc.0.weight": np.zeros((16, 16), np.float32),
        "module.encoder_q.fc.2.weight": np.zeros((4, 16), np.float32),
    }
    assert_reads(write(tmp_path / "moco.safetensors", file), query, ResNetConfig(width=2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.pop("layer4.1.bn2.running_var"), "missing: layer4.1.bn2.running_var"),
        (lambda x: x.update({"layer4.2.conv1.weight": np.zeros(3, np.float32)}), "unexpected"),
        (lambda x: x.update({"bn1.weight": np.zeros(3, np.float32)}), "of the wrong shape: bn1"),
        (lambda x: x["fc.bias"].fill(np.nan), "holding NaN or infinity: fc.bias"),
        (lambda x: x.pop("conv1.weight"), "it holds 0 ResNets"),
        (
            lambda x: x.update({f"b.{name}": value for name, value in x.items()}),
            "it holds 2 ResNets",
        ),
        (
            lambda x: x.update({"conv1.weight": np.zeros((2, 4, 7, 7), np.float32)}),
            "channels is 4; expected a multiple of 3",
        ),
    ],
)
def test_faults_are_listed_with_the_file(tmp_path, change, message):
    tensors = tensors_of(TINY)
    change(tensors)
    path = write(tmp_path / "weights.safetensors", tensors)
    with pytest.raises(PrimusError, match=message) as error:
        read_resnet(path)
    assert str(path) in str(error.value)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(PrimusError, match=r"gone\.pth"):
        read_resnet(tmp_path / "gone.pth")
    with pytest.raises(PrimusError, match="it holds 0 ResNets"):
        read_resnet(GOLDEN)
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(PrimusError, match="not a whole safetensors file"):
        read_resnet(tmp_path / "text.safetensors")
    params, _ = from_torchvision(tensors_of(TINY))
    with pytest.raises(PrimusError, match="missing: layer1"):
        to_torchvision(params, TINY50)


def test_weights_of_images_in_a_vision_encoder(tmp_path):
    path = write(tmp_path / "resnet18.safetensors", tensors_of(TINY))
    asked = VisionConfig(nfft=32, overlap=24, gyroscope="image")
    params, config = read_vision(path, asked)
    assert config == VisionConfig(channels=2, nfft=32, overlap=24, gyroscope="image")
    encoder = Encoder(config, params, rate_hz=50, window_seconds=2)
    encoder.save(tmp_path / "encoder")
    imu = np.random.default_rng(0).normal(size=(2, 100, 6)).astype(np.float32)
    assert encoder.encode_windows(imu).shape == (2, 32)
    assert read_vision(path)[1] == VisionConfig(channels=2)
    for wrong in (VisionConfig(gyroscope="channels"), VisionConfig(multihead=True)):
        with pytest.raises(PrimusError, match=r"resnet18.*3 channels without heads"):
            read_vision(path, wrong)
