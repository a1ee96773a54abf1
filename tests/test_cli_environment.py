"""What a user gives by habit and this machine does not have: addresses of buckets, devices."""

import pytest
from support.process_runs import CONFIG, ends, pretrain_command

from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.files import local_path, new_folder, replace_file
from primus_jax.training.loop import pretrain

COMMANDS = [
    ("prepare simulated --people 3 --out ADDRESS", "--out"),
    ("prepare usc_had --raw ADDRESS --out out", "--raw"),
    ("prepare pack ADDRESS --out out", "the path"),
    (f"pretrain --config {CONFIG} --workdir ADDRESS", "--workdir"),
    (f"pretrain --config {CONFIG} --workdir run --config.data.train=('ADDRESS',)", "data.train"),
    (f"pretrain --config {CONFIG} --workdir run --config.data.towers=ADDRESS", "data.towers"),
    ("export ADDRESS --to out", "the path"),
    ("export run --to=ADDRESS", "--to"),
    ("fewshot --encoder mine=ADDRESS --data sim --out out", "--encoder"),
    ("fewshot --encoder mine --data sim ADDRESS --out out", "the path"),
    ("predict walk.csv --classifier ADDRESS --out out", "--classifier"),
    ("embed data --towers ADDRESS --out out", "--towers"),
    ("info ADDRESS", "the path"),
    ("demo --out ADDRESS", "--out"),
]


@pytest.mark.parametrize(("command", "option"), COMMANDS)
@pytest.mark.parametrize("address", ["gs://bucket/run", "hf://datasets/x"])
def test_an_address_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys, command, option, address
):
    monkeypatch.chdir(tmp_path)
    assert main(command.replace("ADDRESS", address).split()) == 2
    said = capsys.readouterr().err
    assert address in said
    assert f"{option} is" in said
    assert "Mount the bucket as a folder" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address", ["gs://b/x", "s3://b/x", "file:///tmp/x", "new-store://b"])
def test_the_functions_refuse_an_address_too(tmp_path, monkeypatch, simulated, address):
    monkeypatch.chdir(tmp_path)
    from support.tiny_config import get_config

    for write in (new_folder, replace_file):
        with pytest.raises(PrimusError, match="an address"), write(address):
            pass
    with pytest.raises(PrimusError, match="an address"):
        pretrain(get_config(), address)
    assert not list(tmp_path.iterdir())


def test_a_path_of_a_path_class_has_lost_a_slash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    with pytest.raises(PrimusError, match="an address"), new_folder(Path("gs://bucket/run")):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", ["runs/a:b", "a=b/c", "../x", "/tmp/http:/x", "run:1", "mine=a/b"])
def test_paths_with_colons_are_paths(path):
    assert str(local_path(path, "--out")) == path


def test_words_that_are_no_paths_may_be_addresses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "run", "--to", "out", "--license", "https://example.org/licence"]) == 2
    assert "has no run.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "platform", ["cdua", *(pytest.param(x, marks=pytest.mark.slow) for x in ("cuda", "tpu", "gpu"))]
)
def test_a_backend_that_is_not_there_is_one_sentence(tmp_path, simulated, platform):
    commands = [
        pretrain_command(tmp_path / "run", simulated)[3:],
        ["fewshot", "--hand-features", "--data", str(simulated), "--out", str(tmp_path / "out")],
    ]
    for code, said in ends(commands, tmp_path, JAX_PLATFORMS=platform):
        assert code == 2, said
        assert f"JAX_PLATFORMS is {platform}, but JAX finds no such device here" in said
        assert "Traceback" not in said
        assert len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())
