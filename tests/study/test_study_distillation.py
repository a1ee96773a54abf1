"""A study with retrieval: its tables and maps, what it refuses, and the distillation study."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.study_files import BASE, write_people

from primus_jax.cli import main
from primus_jax.config_file import run_file
from primus_jax.errors import PrimusError
from primus_jax.objectives.distill_terms import LossWeights
from primus_jax.study.retrieval import check_retrieval, retrieval_markdown
from primus_jax.study.retrieval_figures import plot_retrieval
from primus_jax.study.retrieved import half_interval
from primus_jax.study.study import RetrievalOptions, Study

ROOT = Path(__file__).parents[2]
FILE = """
from primus_jax.objectives.distill import DistillConfig
from primus_jax.study.study import RetrievalOptions

def method(train, **objective):
    return dataclasses.replace(base(2, 2, train), objective=DistillConfig(**objective))

def get_study():
    return Study(
        methods={
            "InfoNCE": method("TRAIN", weights={}),
            "balanced": method("TRAIN", weights={"at": 0.1}, balance="gradient"),
            "triplets": method("TRAIN", weights={}, loss="triplet"),
        },
        pretraining_seeds=(0, 1), development=("PEOPLE",), shots=(1,), seeds=2, random_seeds=(0,),
        retrieval=RetrievalOptions(data=("TRAIN",), split="all", pools=(16, 60), pool_seeds=3),
        tables={"Table 3": ("InfoNCE", "balanced"), "Triplets": ("triplets",)},
        mapped=("InfoNCE", "balanced"),
    )
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    places = {
        "TRAIN": write_people(folder / "others", 3),
        "PEOPLE": write_people(folder / "people", 11),
    }
    text = BASE + FILE
    for word, place in places.items():
        text = text.replace(word, str(place))
    (folder / "study.py").write_text(text)
    return folder / "study.py"


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
@pytest.mark.slow
def test_the_tables_have_seeds_intervals_pools_and_chance(file, tmp_path):
    out = tmp_path / "out"
    assert main(["study", str(file), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "retrieval.jsonl").read_text().splitlines()]
    # (3 methods x 2 seeds + 1 random encoder) x 2 pools x 2 directions
    assert len(rows) == 7 * 2 * 2
    assert {row["pool"] for row in rows} == {16, 60}
    balanced = [row for row in rows if row["method"] == "balanced"]
    assert {row["pretraining_seed"] for row in balanced} == {0, 1}
    assert all(0.05 < row["gradient_share"] < 0.2 for row in balanced)
    assert not any("gradient_share" in row for row in rows if row["method"] != "balanced")
    text = (out / "retrieval.md").read_text()
    assert "## Table 3: others, pool of 16, text" in text
    assert "## Triplets: others, pool of 60, text" in text
    own = [r for r in balanced if r["pool"] == 16 and r["direction"] == "imu->text"]
    values = np.array([row["recall_at_1"] for row in own])
    cell = f"{100 * values.mean():.2f} ± {100 * half_interval(values):.2f}"
    line = next(line for line in text.splitlines() if line.startswith("| balanced"))
    assert cell in line
    assert "Simulated, not measured: others" in text
    assert (out / "methods_people.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "recall_triplets_others_60_text.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "report.html").read_text()
    for words in ("Maps of the methods", "ten nearest windows", "Retrieval", "Table 3: others"):
        assert words in page
    assert json.loads((out / "study.json").read_text())["retrieval"]["pools"] == [16, 60]


def test_the_interval_of_three_seeds_is_students():
    assert half_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert half_interval(np.array([1.0])) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tables": {"Table": ("InfoNCE", "gone")}}, "names 'gone'"),
        ({"mapped": ("gone",)}, "names 'gone'"),
        ({"retrieval": RetrievalOptions(("a",), pools=())}, "expected positive numbers"),
        ({"retrieval": RetrievalOptions(("a",), pool_seeds=0)}, "expected positive numbers"),
    ],
)
def test_a_study_that_cannot_retrieve_is_refused(file, change, words):
    study = run_file(str(file), "get_study", Study)
    with pytest.raises(PrimusError, match=words):
        dataclasses.replace(study, **change).validate()


def test_data_that_cannot_be_retrieved_are_refused_before_pretraining(file):
    study = run_file(str(file), "get_study", Study)
    check_retrieval(study)
    for change, words in (
        ({"pools": (16, 10**6)}, "a pool of 1000000 windows, but split 'all'"),
        ({"split": "rest"}, "no split 'rest'"),
        ({"targets": ("voice",)}, "stores no voice embeddings"),
    ):
        options = dataclasses.replace(study.retrieval, **change)
        with pytest.raises(PrimusError, match=words):
            check_retrieval(dataclasses.replace(study, retrieval=options))


def test_the_command_names_other_data_and_refuses_them_before_pretraining(file, tmp_path, capsys):
    command = ["study", str(file), "--retrieval", str(file.parent / "people")]
    options = [*command, "--out", str(tmp_path / "out")]
    text = file.read_text().replace("pools=(16, 60)", "pools=(16, 10_000)")
    (tmp_path / "large.py").write_text(text)
    options[1] = str(tmp_path / "large.py")
    assert main(options) == 2
    error = capsys.readouterr().err
    assert "a pool of 10000 windows" in error
    assert "people has" in error
    assert not (tmp_path / "out").exists()


def test_a_dataset_retrieves_by_the_targets_that_it_stores(file):
    study = run_file(str(file), "get_study", Study)
    options = dataclasses.replace(study.retrieval, targets=("text", "voice"))
    check_retrieval(dataclasses.replace(study, retrieval=options))


def test_each_table_has_its_figures_with_the_lead_as_the_last_bar(file, tmp_path):
    study = run_file(str(file), "get_study", Study)
    scores = dict.fromkeys(("recall_at_1", "recall_at_10", "recall_at_50", "mrr"), 0.25)
    rows = [
        {"method": name, "dataset": "d", "direction": way, "pool": 16, "chance": scores, **scores}
        for name in ("InfoNCE", "balanced", "triplets", "random initialisation")
        for way in ("imu->text", "text->imu")
        for _ in range(2)
    ]
    paths = plot_retrieval(study, rows, tmp_path)
    assert [path.name for path in paths] == [
        "recall_table_3_d_16_text.png", "mrr_table_3_d_16_text.png",
        "recall_triplets_d_16_text.png", "mrr_triplets_d_16_text.png",
    ]  # fmt: skip
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    drawn = (tmp_path / "mrr_table_3_d_16_text.svg").read_text()
    assert drawn.index("<!-- InfoNCE -->") < drawn.index("<!-- balanced -->")
    assert "<!-- triplets -->" not in drawn


def test_a_random_row_and_chance_end_each_table(file):
    study = run_file(str(file), "get_study", Study)
    chance = {"recall_at_1": 0.01, "recall_at_10": 0.1, "recall_at_50": 0.5, "mrr": 0.02}
    row = {
        "dataset": "d", "direction": "imu->text", "pool": 288, "simulated": False,
        "chance": chance, **dict.fromkeys(chance, 0.25),
    }  # fmt: skip
    rows = [row | {"method": name} for name in ("InfoNCE", "random initialisation")]
    lines = retrieval_markdown(study, rows).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[0].split("|")[3].strip() == "imu->text R@1"
    assert "25.00" in table[2]
    assert [line.split("|")[1].strip() for line in table[2:6]] == [
        "InfoNCE", "balanced", "random initialisation", "chance"
    ]  # fmt: skip
    assert "0.020" in table[5]


def test_the_distillation_study_is_valid_and_has_the_rows_of_the_report():
    path = ROOT / "configs" / "study_distillation.py"
    study = run_file(str(path), "get_study", Study)
    study.validate()
    assert study.lead == "InfoNCE"
    assert len(study.pretraining_seeds) == 3
    objectives = {name: config.objective for name, config in study.methods.items()}
    names = [field.name for field in dataclasses.fields(LossWeights)]
    chosen = lambda test: sorted(  # noqa: E731
        name for o in objectives.values() if test(o) for name in o.weights.chosen
    )
    for rule in (
        lambda o: o.balance == "none" and o.loss == "info_nce",
        lambda o: o.loss == "none",
    ):
        assert chosen(rule) == sorted(names)
    assert set(chosen(lambda o: o.balance == "gradient")) == set(names)
    assert sum(o.loss == "triplet" for o in objectives.values()) == 2
    text = path.read_text()
    assert f"study configs/{path.name}" in text
    assert "Cost:" in text
    assert f"{len(study.methods)} methods" in text
    assert f"{3 * len(study.methods)} runs of {next(iter(study.methods.values())).steps}" in text
