"""What the distill objective refuses, one sentence each, and a run of the command with it."""

import json
import shutil

import numpy as np
import pytest

from primus_jax.cli import main
from primus_jax.config import Config, DataConfig, from_dict, to_dict
from primus_jax.config_file import read_config
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.models.heads import cross_modal_head
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.distill import DistillConfig
from primus_jax.objectives.distill_settings import TripletOptions
from primus_jax.objectives.distill_terms import LossOptions, LossWeights, default_weights
from primus_jax.training.digest import digest
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state

FILE = """
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.distill import DistillConfig

def get_config():
    return Config(
        steps=6, log_every=1, devices=1,
        data=DataConfig(batch_size=16, validation_batches=1),
        encoder=ReleasedConfig(
            input_norm="fixed", activation="gelu", readout="pool", channels=8, multihead=False
        ),
        objective=DistillConfig(weights={"at": 0.1, "cc": 0.2}, balance="gradient"),
        checkpoint=CheckpointConfig(every=3, keep=2),
    )
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(FILE)
    return path


def refused(objective, batch=256, width=512, encoder=None):
    encoder = encoder or ReleasedConfig(multihead=False)
    config = Config(
        data=DataConfig(train=("a",), batch_size=batch, embedding_dim=width),
        encoder=encoder,
        objective=objective,
    )
    with pytest.raises(PrimusError) as caught:
        config.validate()
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weights": {"at": -1.0}}, "objective.weights.at is -1.0"),
        ({"weights": {"cc": float("nan")}}, "objective.weights.cc is nan"),
        ({"weights": LossWeights(), "loss": "none"}, "there is nothing to train"),
        ({"weights": {"nst": 1.0}, "form": "released"}, "zero for every embedding"),
        ({"loss": "infonce"}, "objective.loss is 'infonce'"),
        ({"direction": "from_text"}, "objective.direction is 'from_text'"),
        ({"direction": "from_imu", "loss": "sigmoid"}, "has no direction"),
        ({"form": "report"}, "objective.form is 'report'"),
        ({"balance": "auto"}, "objective.balance is 'auto'"),
        ({"balance": "gradient", "loss": "none"}, "against the contrastive loss"),
        ({"balance": "gradient", "weights": {}}, "against the contrastive loss"),
        ({"balance_momentum": 1.0}, "balance_momentum is 1.0"),
        ({"teacher_projection": True}, "nothing would be projected"),
        ({"targets": ("audio",)}, "objective.targets ('audio',)"),
        ({"teachers": ("text", "text")}, "each once"),
        ({"targets": ()}, "objective.targets is empty"),
        ({"targets": (), "loss": "none"}, "nobody teaches"),
        ({"options": LossOptions(power=0.5)}, "objective.options.power is 0.5"),
        ({"options": LossOptions(temperature=0.0)}, "objective.options.temperature is 0.0"),
        ({"options": LossOptions(rkd_form="sum")}, "rkd_form is 'sum'"),
        ({"options": LossOptions(distance=0.0, angle=0.0)}, "not both 0"),
        ({"triplet": TripletOptions(margin=0.0)}, "objective.triplet.margin is 0.0"),
        ({"triplet": TripletOptions(negatives="near")}, "negatives 'near'"),
        ({"temperature": "learned"}, "parameterisation 'learned'"),
        ({"temperature_initial": 2.0}, "initial 2.0"),
        ({"bias_initial": float("inf")}, "objective.bias_initial is inf"),
        ({"contrastive": "fast"}, "objective.contrastive 'fast'"),
    ],
)
def test_what_means_nothing_is_one_sentence(values, words):
    message = refused(DistillConfig(**values))
    assert words in message
    assert "\n" not in message


def test_an_unknown_loss_is_named_with_those_that_exist(file):
    with pytest.raises(PrimusError, match=r"no distillation loss 'att'; expected some of st, sp"):
        DistillConfig(weights={"att": 1.0})
    with pytest.raises(PrimusError, match=r"no distillation loss 'fitnets'"):
        default_weights("fitnets")
    with pytest.raises(PrimusError, match=r"weights\.att=1.*no 'att'; expected one of st, sp"):
        read_config(str(file), ["--config.objective.weights.att=1"])
    file.write_text(FILE.replace('"at"', '"att"'))
    with pytest.raises(PrimusError, match=r"line 13.*no distillation loss 'att'"):
        read_config(str(file), [])


@pytest.mark.parametrize("name", ["sp", "nst", "cc", "pkt", "rkd"])
def test_one_window_teaches_nothing_about_pairs(name):
    with pytest.raises(PrimusError, match=rf"batch_size is 1, but the loss '{name}'.*at least 2"):
        DistillConfig(weights={name: 1.0}).validate(1)
    DistillConfig(weights={"hints": 1.0}, loss="none").validate(1)
    with pytest.raises(PrimusError, match="the loss 'at' compares"):
        DistillConfig(weights={"at": 1.0}, form="released").validate(1)


def test_widths_that_do_not_match():
    narrow = ReleasedConfig(multihead=False, embed_dim=64)
    assert "the contrastive loss compares them" in refused(DistillConfig(), encoder=narrow)
    alone = {"loss": "none"}
    for name in ("st", "at", "ab"):
        message = refused(DistillConfig(weights={name: 1.0}, **alone), encoder=narrow)
        assert f"'{name}' compares unit with unit" in message
        assert "take one of sp, nst" in message
    message = refused(DistillConfig(weights={"logits": 1.0}, **alone), encoder=narrow)
    assert "or objective.teacher_projection to True" in message
    for values in (
        {"weights": {"logits": 1.0}, "teacher_projection": True},
        {"weights": {"hints": 1.0}},
        {"weights": {"sp": 1.0, "rkd": 1.0}},
    ):
        DistillConfig(**values, **alone).check_encoder(narrow, 512)
    DistillConfig().check_encoder(MotionConfig(head_dim=512), 512)


def test_a_config_survives_json_and_takes_overrides(file):
    config = read_config(str(file), ["--config.objective.weights.rkd=0.5"])
    assert config.objective.weights == LossWeights(at=0.1, cc=0.2, rkd=0.5)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    chosen = read_config(str(file), ["--config.objective.kind=distill"])
    assert chosen.objective.weights.chosen == {"at": 0.1, "cc": 0.2}
    with pytest.raises(PrimusError, match="could not convert"):
        read_config(str(file), ["--config.objective.weights.at=much"])


@pytest.mark.parametrize(
    ("objective", "target", "trained"),
    [
        (DistillConfig(), "text", True),
        (DistillConfig(), "video", False),
        (DistillConfig(loss="none", teachers=("video",)), "video", True),
        (DistillConfig(loss="none", teachers=("video",)), "text", False),
    ],
)
def test_retrieval_knows_what_the_encoder_was_compared_with(objective, target, trained):
    metadata = {"config": {"objective": to_dict(objective)}}
    assert cross_modal_head(("emb",), metadata, target).trained is trained


def pretrain(file, data, workdir, *overrides):
    words = [f"--config.data.train=('{data}',)", *overrides]
    return main(["pretrain", "--config", str(file), "--workdir", str(workdir), *words])


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective.weights.at=-1", "objective.weights.at is -1.0"),
        ("objective.weights.fitnets=1", "LossWeights has no 'fitnets'; expected one of st, sp"),
        ("objective.teachers=('voice',)", "objective.teachers ('voice',)"),
        ("encoder.embed_dim=64", "config.data.embedding_dim 512"),
        ("data.batch_size=1", "config.data.batch_size is 1; expected at least 2"),
    ],
)
def test_the_command_refuses_in_one_line(file, simulated, tmp_path, capsys, override, words):
    assert pretrain(file, simulated, tmp_path / "run", f"--config.{override}") != 0
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
def test_a_teacher_that_the_data_do_not_have(file, simulated, tmp_path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(simulated, bare)
    for name in ("features.json", "metadata.json"):
        path = bare / name
        path.write_text(path.read_text().replace("video_embedding", "voice_embedding"))
    code = pretrain(file, bare, tmp_path / "run", "--config.objective.teachers=('video',)")
    error = capsys.readouterr().err
    assert code != 0
    assert "no video embeddings in" in error
    assert "primus-jax embed" in error


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
@pytest.mark.slow
def test_a_run_learns_logs_its_ratios_and_resumes(file, simulated, tmp_path):
    assert pretrain(file, simulated, tmp_path / "run") == 0
    rows = [row for row in read_metrics(tmp_path / "run") if "loss" in row]
    for name, share in (("at", 0.1), ("cc", 0.2)):
        assert rows[0][f"gradient_ratio_{name}_text"] == pytest.approx(share, rel=1e-3)
        assert np.isfinite([row[f"weight_{name}_text"] for row in rows]).all()
    state, _, _ = load_state(tmp_path / "run", "latest")
    assert all(float(x) > 0 for x in state.extra["gradient_norms"].values())
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "6")
    assert pretrain(file, simulated, tmp_path / "run") == 0
    assert digest(load_state(tmp_path / "run", "latest")[0]) == digest(state)
    assert main(["export", str(tmp_path / "run"), "--to", str(tmp_path / "encoder")]) == 0
    encoder = load_encoder(tmp_path / "encoder")
    assert encoder.metadata["config"]["objective"]["weights"]["cc"] == 0.2
