"""`primus-jax summarise`: bouts, words, picture and language model, of a classifier and prompts."""

import csv
import json
import shutil
import tracemalloc

import numpy as np
import pytest
from support.chat_server import ChatServer, answer
from support.user_files import ACTIVITIES, moving, tiny_encoder, write_user_csv

from primus_jax import SignalWarning
from primus_jax.classify.classifier import Classifier
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.table_format import TableFormat
from primus_jax.summary.activity import Activity, find_activity, prompt_classifier
from primus_jax.summary.bouts import Bout, BoutRule
from primus_jax.summary.endpoint import KEY, estimated_tokens
from primus_jax.summary.prompt import INSTRUCTIONS, messages
from primus_jax.summary.words import clock, duration, summary_markdown, summary_text

UNITS = ["--acc-unit", "g", "--gyro-unit", "deg/s"]
SECRET = "sk-secret-of-the-test"
CLAIMS = ("kitchen", "friend", "because", "exercise", "healthy", "work", "home")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder, a classifier, and a new recording: six bouts of 40 s, a gap of 2 s after 120."""
    folder = tmp_path_factory.mktemp("user")
    tiny_encoder().save(folder / "encoder")
    write_user_csv(folder / "my.csv")
    assert main(["adapt", str(folder / "my.csv"), "--encoder", str(folder / "encoder"),
                 "--out", str(folder / "classifier"), "--label-column", "activity",
                 *UNITS]) == 0  # fmt: skip
    write_user_csv(
        folder / "new.csv", people=("dora",), seed=900, seconds=40.0, bouts=2, labelled=False
    )
    return folder


def command(folder, out, *more):
    return ["summarise", str(folder / "new.csv"), "--classifier", str(folder / "classifier"),
            "--out", str(out), *UNITS, *map(str, more)]  # fmt: skip


@pytest.fixture(scope="module")
def summary(folder):
    assert main(command(folder, folder / "out")) == 0
    return folder / "out"


def test_the_bouts_are_what_was_done(summary):
    with (summary / "bouts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sure = [row for row in rows if row["label"] != "unsure"]
    assert [row["label"] for row in sure] == list(ACTIVITIES) * 2
    for row, begin in zip(sure, (0, 40, 80, 122, 162, 202), strict=True):
        assert float(row["start_seconds"]) == pytest.approx(begin, abs=6)
        assert float(row["seconds"]) == pytest.approx(40, abs=10)
        assert 0.4 <= float(row["confidence"]) <= 1
    assert sum(float(row["seconds"]) for row in rows) == pytest.approx(240, abs=1)


def test_the_words_are_those_of_the_bouts(summary):
    text = (summary / "summary.txt").read_text()
    markdown = (summary / "summary.md").read_text()
    assert "The recording lasts 4 min 2 s" in text
    assert "No window covers 1 gap: 0:02:00 to 0:02:02. Nothing is known of them." in text
    for name in ACTIVITIES:
        assert f"{name}: " in text
        assert f"| {name} " in markdown
    assert "in 2 bouts." in text
    assert "The longest bout is " in text
    assert "held out by person" in text
    assert not any(word in text.lower() for word in CLAIMS)
    assert (summary / "timeline.png").read_bytes()[:4] == b"\x89PNG"


def test_the_same_recording_gives_the_same_words(folder, summary, tmp_path):
    assert main(command(folder, tmp_path / "again", "--encoder", folder / "encoder")) == 0
    for name in ("bouts.csv", "summary.txt", "summary.md"):
        assert (tmp_path / "again" / name).read_bytes() == (summary / name).read_bytes()


def test_the_model_is_sent_bouts_and_never_the_signal(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(KEY, SECRET)
    out = tmp_path / "out"
    with ChatServer((200, answer("Dora walked, then climbed."))).running() as server:
        words = command(folder, out, "--llm", server.url, "--model", "tiny")
        assert main(words) == 0
    [(_, headers, body)] = server.requests
    assert headers["Authorization"] == f"Bearer {SECRET}"
    sent = json.loads(body)
    assert sent["model"] == "tiny"
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    content = sent["messages"][1]["content"]
    with (out / "bouts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert content.count(", confidence ") == len(rows)
    signal = (folder / "new.csv").read_text().splitlines()[100].split(",")[1:]
    assert not any(value in content for value in signal)
    assert "new.csv" not in content
    written = (out / "summary_llm.md").read_text()
    assert written.startswith("Written by tiny from bouts.csv; not checked against it.")
    assert "Dora walked, then climbed." in written
    said = capsys.readouterr()
    assert SECRET not in said.out + said.err
    assert not any(SECRET in path.read_text() for path in out.glob("*.*") if path.suffix != ".png")


@pytest.mark.parametrize("reply", [(500, b"no"), (200, b"<html>")])
def test_a_failing_endpoint_leaves_the_summary(folder, tmp_path, capsys, monkeypatch, reply):
    monkeypatch.setattr("primus_jax.summary.endpoint.WAITS", (0, 0))
    out = tmp_path / "out"
    with ChatServer(reply).running() as server:
        words = command(folder, out, "--llm", server.url, "--model", "tiny")
        assert main(words) == 3
    assert "summary.txt is complete" in capsys.readouterr().err
    assert {path.name for path in out.iterdir()} == {
        "bouts.csv", "summary.txt", "summary.md", "timeline.png", "predictions.csv",
    }  # fmt: skip


def day(count: int, gaps: int = 0) -> Activity:
    """A made-up day of `count` bouts of 60 s, every tenth of a label of its own length."""

    class Found:
        window_seconds = 5.0

        class report:
            seconds, windows = 86_400.0, 86_000

    labels = ("walk", "sit", None)
    bouts = tuple(
        Bout(60.0 * i + 7 * (i >= count - gaps), 60.0 * (i + 1), labels[i % 3], 0.8, 55)
        for i in range(count)
    )
    return Activity("day.csv", Found, bouts, BoutRule(), "The labels are made up.")


def test_a_very_long_day_is_cut_to_the_tokens():
    activity = day(1440)
    for tokens in (700, 1000, 4000):
        chat = messages(activity, tokens)
        text = "".join(message["content"] for message in chat)
        listed = text.count(", confidence ")
        assert estimated_tokens(text) <= tokens
        # and no room is wasted
        assert estimated_tokens(text) > tokens - 80
        assert f"{1440 - listed:,} shorter bouts, together" in text
        assert "walk: 8 h 0 min (33.3 %) in 480 bouts." in text
    assert INSTRUCTIONS in messages(day(3), 4000)[0]["content"]
    assert "shorter bouts" not in messages(day(3), 4000)[1]["content"]
    with pytest.raises(PrimusError, match="--llm-tokens 50 hold neither"):
        messages(activity, 50)


def test_the_words_of_a_very_long_day_stay_short():
    activity = day(1440)
    text = summary_text(activity)
    assert "the 30 longest bouts (1,410 shorter ones are in bouts.csv)" in text
    assert "In 480 stretches no label was sure: 0:02:00 to 0:03:00, " in text
    assert "and 450 more. What happened there is not known." in text
    assert len(text) < 5000
    assert "| unsure " in summary_markdown(activity)


def test_a_day_without_any_sure_label():
    activity = day(3)
    activity = Activity("x", activity.prediction, (activity.bouts[2],), BoutRule(), "None.")
    text = summary_text(activity)
    assert "No label was sure at any time." in text
    assert "In 1 stretch no label was sure" in text


def test_times_in_words():
    assert [clock(seconds) for seconds in (0, 59.6, 3661, 90_000)] == [
        "0:00:00", "0:01:00", "1:01:01", "25:00:00",
    ]  # fmt: skip
    assert [duration(seconds) for seconds in (0.4, 59.4, 59.5, 3599.4, 3599.5, 7230)] == [
        "0 s", "59 s", "1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 0 min",
    ]  # fmt: skip


class HowMuch:
    """An encoder of one number, how much the window moves, that costs nothing."""

    rate_hz, window_seconds = 50.0, 5.0

    def encode_windows(self, imu, head=None, batch_size=256):
        return imu[:, ::50, :3].std(1).mean(1)[:, None]


def hours(count: int):
    """Whole hours at 50 Hz, in pieces of a minute; the sensor moves every other ten minutes."""
    rng = np.random.default_rng(0)
    for minute in range(60 * count):
        noise = rng.normal(0, 0.02 + 2.0 * (minute // 10 % 2), (3000, 6))
        yield noise + np.array([0, 0, 9.81, 0, 0, 0])


def peak_of(count: int) -> tuple[int, Activity]:
    one = np.ones(1, np.float32)
    kernel = np.array([[-8.0, 8.0]], np.float32)
    classifier = Classifier(("still", "moving"), one * 1.0, one, kernel, np.zeros(2, np.float32),
                            {"window_seconds": 5.0, "head": "emb", "gyro": True})  # fmt: skip
    tracemalloc.start()
    activity = find_activity(
        classifier, HowMuch(), hours(count), TableFormat(rate_hz=50), name="day", source="Made up."
    )
    summary_text(activity)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, activity


@pytest.mark.slow
def test_a_day_takes_no_more_memory_than_its_windows():
    """Twenty-four hours are 207 MB of signal; what grows is some 100 bytes a window."""
    short, _ = peak_of(2)
    whole, activity = peak_of(24)
    assert whole - short < 22 * 3600 * 200
    assert [bout.label for bout in activity.bouts] == ["still", "moving"] * 72
    assert activity.covered_seconds == pytest.approx(86_400)


# ---------------------------------------------------------------------------------------- prompts


@pytest.fixture(scope="module")
def prompts(folder):
    """Sentences whose "embeddings" are the mean embedding of each activity."""
    encoder = tiny_encoder()
    sentences = {name: [f"a person does {name}", f"{name} now"] for name in ACTIVITIES}
    (folder / "prompts.json").write_text(json.dumps(sentences))
    mean = {}
    for name in ACTIVITIES:
        signal = moving(name, 60.0, 50.0, 5)[: 50 * 60].reshape(20, 150, 6)
        mean[name] = encoder.encode(signal, 50.0, "g", "deg/s", "mmcl").mean(0)
    every = np.mean(list(mean.values()), 0)
    np.savez(
        folder / "text.npz",
        text=np.array([s for found in sentences.values() for s in found]),
        text_embedding=np.stack([mean[n] - every for n in ACTIVITIES for _ in range(2)]),
    )
    return folder


def by_prompts(folder, out, *more):
    return ["summarise", str(folder / "new.csv"), "--encoder", str(folder / "encoder"), "--prompts",
            str(folder / "prompts.json"), "--out", str(out), *UNITS, *map(str, more)]  # fmt: skip


def test_prompts_label_without_any_label(prompts, tmp_path, capsys):
    out = tmp_path / "out"
    words = by_prompts(prompts, out, "--embeddings", prompts / "text.npz", "--temperature", "0.01")
    assert main(words) == 0
    text = (out / "summary.txt").read_text()
    assert "zero-shot, temperature 0.01" in text
    assert "not calibrated" in text
    assert "does not state its training" in capsys.readouterr().err
    with (out / "bouts.csv").open(newline="") as file:
        found = {row["label"] for row in csv.DictReader(file)}
    assert found <= {*ACTIVITIES, "unsure"}


def test_prompt_probabilities_are_a_softmax_of_cosines():
    from primus_jax.evals.crossmodal.prompts import ClassPrompts
    from primus_jax.numerics import unit_rows

    encoder, rng = tiny_encoder(), np.random.default_rng(0)
    width = encoder.config.width("mmcl")
    rows = rng.normal(size=(3, width)).astype(np.float32)
    with pytest.warns(SignalWarning, match="does not state its training"):
        found = prompt_classifier(
            encoder, ClassPrompts(("a", "b", "c"), ((), (), ()), rows, "a test"), True, 0.2
        )
    x = rng.normal(size=(7, width)).astype(np.float32)
    expected = np.exp(unit_rows(x) @ unit_rows(rows).T / 0.2)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(found.probabilities(x), expected, rtol=1e-5)
    for temperature in (0, -1, float("nan")):
        with pytest.raises(PrimusError, match="--temperature"):
            prompt_classifier(encoder, ClassPrompts((), (), rows, ""), True, temperature)
    narrow = ClassPrompts(("a", "b"), ((), ()), rows[:2, :5], "a test")
    with (
        pytest.warns(SignalWarning),
        pytest.raises(PrimusError, match=r"the prompts \(a test\) have 5"),
    ):
        prompt_classifier(encoder, narrow, True)


def test_options_that_do_not_go_together(prompts, tmp_path, capsys):
    folder, out = prompts, tmp_path / "out"
    missing = tmp_path / "missing.csv"
    plain = ["summarise", str(folder / "new.csv"), "--out", str(out), *UNITS]
    other = tmp_path / "other"
    tiny_encoder(window_seconds=4.0).save(other)
    cases = [
        (plain, "neither --classifier nor --prompts"),
        ([*plain, "--prompts", str(folder / "prompts.json")], "--prompts needs --encoder"),
        (by_prompts(folder, out), "needs the embeddings of its sentences"),
        (by_prompts(folder, out, "--embeddings", missing), "missing.csv: no such file"),
        (command(folder, out, "--encoder", folder / "missing"), "does not exist"),
        (command(folder, out, "--model", "m"), "--model without --llm"),
        (command(folder, out, "--llm", "http://h/v1"), "--model is empty"),
        (command(folder, out, "--llm", "h", "--model", "m"), "not a web address"),
        (command(folder, out, "--enter", "0.2"), "--enter 0.2 and --stay 0.4"),
        (command(folder, out, "--hop", "30"), "--hop 30 leaves time between windows of 3 s"),
        (command(folder, out, "--hop", "0"), "hop_seconds is 0.0"),
        (command(folder, out, "--pairs"), "--pairs of a recording needs --narrations"),
        (command(folder, out, "--narrations", missing), "give --pairs too"),
        (command(folder, out, "--no-gyro"), "adapted with a gyroscope"),
        (["summarise", str(missing), *command(folder, out)[2:]], "missing.csv"),
        (["summarise", str(folder), *command(folder, out)[2:]], "is a folder; a summary is of"),
    ]
    for words, message in cases:
        assert main(words) == 2, message
        assert message in capsys.readouterr().err
        assert not out.exists()
    shutil.copytree(folder / "classifier", tmp_path / "classifier")
    shutil.rmtree(tmp_path / "classifier" / "encoder")
    tiny_encoder(rate_hz=40.0).save(tmp_path / "classifier" / "encoder")
    words = command(folder, out, "--encoder", folder / "encoder")
    words[words.index("--classifier") + 1] = str(tmp_path / "classifier")
    assert main(words) == 2
    assert "is not the encoder that" in capsys.readouterr().err
