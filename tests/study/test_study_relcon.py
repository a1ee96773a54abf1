"""The ablation of RelCon: its rows, and a distance that is missing before hours of pretraining."""

import dataclasses
from pathlib import Path

import pytest
from support.study_files import write_people

from primus_jax.config_file import run_file
from primus_jax.errors import PrimusError
from primus_jax.study.run import run_study
from primus_jax.study.study import Study

PATH = Path(__file__).parents[2] / "configs" / "study_relcon.py"


def test_every_row_differs_from_the_whole_in_one_thing():
    study = run_file(str(PATH), "get_study", Study)
    study.validate()
    assert study.lead == "RelCon"
    whole = dataclasses.asdict(study.methods["RelCon"].objective)
    assert (whole["loss"], whole["attention"], whole["candidates"]) == ("relative", "sparsemax", 4)
    changes = {}
    for name, config in study.methods.items():
        assert dataclasses.replace(config, objective=None) == dataclasses.replace(
            study.methods["RelCon"], objective=None
        )
        mine = dataclasses.asdict(config.objective)
        changes[name] = {field: mine[field] for field in mine if mine[field] != whole[field]}
    del changes["RelCon"]
    assert all(len(set(change) - {"attention"}) == 1 for change in changes.values())
    assert {c.get("distance") for c in changes.values()} >= {"euclidean", "dtw", "none"}
    assert {c.get("loss") for c in changes.values()} == {None, "hard", "log_ratio"}
    assert {c.get("candidates") for c in changes.values()} == {None, 0}
    text = PATH.read_text()
    assert f"study configs/{PATH.name}" in text
    runs = len(study.methods) * len(study.pretraining_seeds)
    assert f"{runs} runs of {study.methods['RelCon'].steps} steps" in text


def test_a_study_without_its_distance_is_refused_before_it_pretrains(tmp_path):
    people = str(write_people(tmp_path / "people", 11))
    study = run_file(str(PATH), "get_study", Study).with_train((people,))
    study = dataclasses.replace(study, development=(people,))
    with pytest.raises(PrimusError, match=r"method 'RelCon': distances/.* has no config.json"):
        run_study(study, tmp_path / "out", log=len)
    assert not (tmp_path / "out").exists()
