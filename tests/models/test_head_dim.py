"""Heads of another width than the embedding, from the config to every exported file."""

import json

import jax
import numpy as np
import pytest

from primus_jax.config import Config, DataConfig
from primus_jax.data.inputs import example_batch
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.paired import check_width
from primus_jax.hub.recognise import recognise
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig, make_optimizer
from primus_jax.parallel.sharding import make_mesh
from primus_jax.training.state import abstract_state, state_maker
from primus_jax.training.step import make_train_step

ENCODERS = {
    "motion": MotionConfig(channels=4, blocks=1, head_layers=2, head_dim=12),
    "one layer": ReleasedConfig(channels=8, embed_dim=16, head_dim=12),
    "pool": ReleasedConfig(channels=8, embed_dim=16, readout="pool", head_layers=2, head_dim=24),
}
LARGE = MotionConfig(channels=512, blocks=4, head_layers=2, head_dim=512)


@pytest.fixture(params=[pytest.param("motion", marks=pytest.mark.slow), "one layer", "pool"])
def encoder(request):
    return Encoder.random(ENCODERS[request.param], seed=1, rate_hz=50, window_seconds=3)


def windows():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(3, 150, 6)) * 2 + [0, 0, 9.8, 0, 0, 0]).astype(np.float32)


def test_each_output_has_its_width(encoder):
    width = encoder.config.head_dim
    assert encoder.encode_windows(windows(), "emb").shape == (3, encoder.config.embed_dim)
    for head in ("ssl", "mmcl"):
        assert encoder.encode_windows(windows(), head).shape == (3, width)
        check_width(encoder, head, width, "the texts have")
        with pytest.raises(PrimusError, match=f"has {width} values"):
            check_width(encoder, head, encoder.config.embed_dim, "the texts have")


def test_weights_tell_the_width_and_come_back(encoder, tmp_path):
    tensors = to_torch_names(encoder.params, encoder.config)
    guessed, _ = recognise({name: value.shape for name, value in tensors.items()})
    assert guessed.head_dim == encoder.config.head_dim
    encoder.head = "mmcl"
    encoder.save(tmp_path / "folder")
    again = load_encoder(tmp_path / "folder")
    assert again.config == encoder.config
    np.testing.assert_array_equal(
        again.encode_windows(windows()), encoder.encode_windows(windows())
    )
    card = (tmp_path / "folder" / "README.md").read_text()
    assert f"to {encoder.config.head_dim} numbers" in card


def test_a_width_equal_to_the_embedding_is_not_told_apart():
    plain = ReleasedConfig(channels=8, embed_dim=16, readout="pool")
    tensors = to_torch_names(Encoder.random(plain, 0, 50, 3).params, plain)
    assert recognise({n: v.shape for n, v in tensors.items()}, plain)[0] == plain
    assert recognise({n: v.shape for n, v in tensors.items()})[0].head_dim == 0


def test_the_exported_pytorch_model_agrees(encoder, tmp_path):
    torch = pytest.importorskip("torch")
    from primus_jax.hub.modeling_primus import PrimusEncoder

    encoder.save(tmp_path / "folder")
    with torch.no_grad():
        theirs = PrimusEncoder.from_pretrained(tmp_path / "folder")(torch.tensor(windows()))
    for head in encoder.config.heads:
        ours = encoder.encode_windows(windows(), head)
        np.testing.assert_allclose(theirs[head].numpy(), ours, rtol=1e-4, atol=2e-5)
    description = json.loads((tmp_path / "folder" / "config.json").read_text())
    del description["encoder"]["head_dim"]
    older = PrimusEncoder(description["encoder"])
    assert older.ssl_head is not None


def test_the_onnx_graph_states_every_width(encoder):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    from primus_jax.export.onnx.encoders import onnx_encoder

    tensors = {n: np.asarray(v) for n, v in to_torch_names(encoder.params, encoder.config).items()}
    model = onnx_encoder(tensors, encoder.config, 150, encoder.config.heads)
    onnx.checker.check_model(model)
    stated = {o.name: o.type.tensor_type.shape.dim[1].dim_value for o in model.graph.output}
    assert stated == {head: encoder.config.width(head) for head in encoder.config.heads}
    for head, value in zip(
        encoder.config.heads, ReferenceEvaluator(model).run(None, {"imu": windows()}), strict=True
    ):
        np.testing.assert_allclose(
            value, encoder.encode_windows(windows(), head), rtol=1e-4, atol=2e-5
        )


def test_the_config_compares_the_head_with_the_embeddings():
    data = DataConfig(train=("somewhere",), embedding_dim=12)
    config = Config(data=data, encoder=ENCODERS["motion"])
    config.validate()
    config.data.embedding_dim = 512
    with pytest.raises(PrimusError, match=r"'mmcl' of config.encoder is 12 wide.*head_dim"):
        config.validate()
    config.objective = PrimusConfig(multimodal=False, targets=())
    config.validate()


def test_the_queue_is_as_wide_as_the_heads():
    objective = PrimusConfig(queue_size=20).build(ENCODERS["motion"])
    _, extra = jax.eval_shape(
        objective.init, jax.random.key(0), example_batch(PrimusConfig().inputs(150, 12))
    )
    rows = extra["queue"].rows
    assert {name: rows[name].embedding.shape for name in rows} == dict.fromkeys(
        ("imu", "text", "video"), (20, 12)
    )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"head_dim": -1}, "encoder.head_dim is -1; expected a positive integer, or 0"),
        ({"head_dim": True}, "encoder.head_dim is True"),
        ({"head_dim": 8, "multihead": False}, "multihead is False: there is no head"),
    ],
)
def test_a_width_that_means_nothing_is_refused(values, words):
    with pytest.raises(PrimusError, match=words):
        ReleasedConfig(**values).validate()


def parameters(config):
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), windows()[:1])
    return sum(x.size for x in jax.tree.leaves(shapes))


def test_an_encoder_of_300_million_parameters_is_a_config():
    LARGE.validate()
    assert 280e6 < parameters(LARGE) < 330e6
    assert parameters(MotionConfig(head_layers=2)) < 3e6


@pytest.mark.slow
def test_the_large_encoder_compiles_for_eight_devices_without_being_allocated():
    """Split parameters, bfloat16, rematerialisation and parts together; shapes only."""
    compute = ComputeConfig("bfloat16", remat=True, micro_batches=2)
    objective = PrimusConfig(queue_size=1024).build(LARGE, compute)
    optimizer = make_optimizer(OptimConfig(), 10)
    batch, mesh = example_batch(PrimusConfig().inputs(250, 512)), make_mesh(8)
    make = state_maker(objective, optimizer, 0, batch)
    state = abstract_state(make, objective, mesh, fsdp=True)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    rows = {
        name: jax.ShapeDtypeStruct((64, *value.shape[1:]), value.dtype, sharding=sharding)
        for name, value in batch.items()
    }
    stop = jax.ShapeDtypeStruct((8,), bool, sharding=sharding)
    step = make_train_step(objective, optimizer, mesh, 0, fsdp=True, micro_batches=2)
    compiled = step.lower(state, {}, rows, stop).compile()
    memory = compiled.memory_analysis()
    # Parameters and both moments of Adam, an eighth of them on each device.
    assert memory.argument_size_in_bytes < 1.1 * 12 * parameters(LARGE) / 8
