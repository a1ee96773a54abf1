"""`primus-jax explore`: the page's data, and the page in a real browser."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from support.recording_files import GRAVITY
from support.tiny_config import MOTION
from support.user_files import write_classifier

from primus_jax.cli import main
from primus_jax.encoder import Encoder
from primus_jax.explore.reading import principal_plane

RATE, SECONDS, GAP = 100, 120, (50, 60)
PEAK = 71.5  # at this second


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A recording of two minutes with a gap and a peak, explored by a random classifier."""
    folder = tmp_path_factory.mktemp("explore")
    encoder = Encoder.random(MOTION, 1, 50.0, 5.0)
    rng = np.random.default_rng(0)
    out = folder / "classifier"
    write_classifier(out, encoder, ("walk </script>", "sit"), [100.0])
    time = np.arange(SECONDS * RATE) / RATE
    signal = rng.normal(0, 0.1, (len(time), 6))
    signal[:, 2] += GRAVITY + (time > 60) * 3 * np.sin(2 * np.pi * 2 * time)
    signal[round(PEAK * RATE), 0] = 140.0
    rows = np.column_stack([time, signal])[(time < GAP[0]) | (time >= GAP[1])]
    names = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    np.savetxt(folder / "my.csv", rows, "%.4f", ",", header=names, comments="")
    command = ["explore", str(folder / "my.csv"), "--classifier", str(out)]
    assert main([*command, "--out", str(folder / "page")]) == 0
    return folder / "page" / "explore.html"


def data_of(page):
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found[1])


def array(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_the_page_holds_signal_windows_and_bouts(page):
    data = data_of(page)
    acc = array(data["acc"]["values"], "<i2").reshape(2, data["stretches"], 3)
    assert data["stretch"] == 1 / RATE
    assert data["acc"]["scale"] * acc[1, round(PEAK * RATE), 0] == pytest.approx(140.0)
    gap = acc[:, GAP[0] * RATE + 5 : GAP[1] * RATE - 5]
    assert (gap == -32768).all()
    starts = array(data["windows"]["start"], "<f4")
    assert not ((starts > GAP[0] - 4.9) & (starts < GAP[1])).any()
    assert len(array(data["windows"]["place"], "<i2")) == 2 * len(starts)
    assert set(array(data["windows"]["label"], "u1")) <= {0, 1}
    assert array(data["windows"]["sure"], "u1").min() >= 50
    for start, end, label, sure in data["bouts"]:
        assert 0 <= start < end <= SECONDS
        assert label in (None, *data["labels"])
        assert 0 <= sure <= 1
    assert {path.name for path in page.parent.iterdir()} == {
        "explore.html", "bouts.csv", "explore.json"
    }  # fmt: skip
    assert data["gaps"] == [pytest.approx(GAP, abs=0.05)]
    assert "src=" not in re.sub(r"<script>.*?</script>", "", page.read_text(), flags=re.S)


def test_the_map_is_the_principal_plane():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(50, 7)) * [9, 5, 1, 1, 1, 1, 1] + 3
    place = principal_plane(rows)
    spread = np.linalg.svd(rows - rows.mean(0), compute_uv=False)[:2]
    np.testing.assert_allclose(np.linalg.norm(place, axis=0), spread, rtol=1e-5)
    np.testing.assert_array_equal(principal_plane(rows), place)
    assert principal_plane(rows[:, :1]).shape == (50, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --encoder DIR, --classifier DIR, or both"),
        (["--classifier", "c", "--text", "walking"], "--text needs --towers"),
    ],
)
def test_what_is_missing_is_named(tmp_path, capsys, words, message):
    out = tmp_path / "out"
    assert main(["explore", "my.csv", *words, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_hop_beyond_the_window_is_refused(page, tmp_path, capsys):
    folder = page.parents[1]
    command = ["explore", str(folder / "my.csv"), "--classifier", str(folder / "classifier")]
    assert main([*command, "--hop", "6", "--out", str(tmp_path / "out")]) == 2
    assert "a hop of 6 s" in capsys.readouterr().err


# Keys, a zoom, a jump and both pointers, as events of the page; what follows is put into its body.
ACTIONS = """
<script>
(async () => {
  const pause = () => new Promise((done) => setTimeout(done, 400));
  const key = (name) => document.dispatchEvent(new KeyboardEvent("keydown", { key: name }));
  const seen = {};
  while (document.body.dataset.ready !== "yes") await pause();
  seen.whole = document.body.dataset.range;
  key("+"); await pause(); seen.zoomed = document.body.dataset.range;
  key("ArrowRight"); await pause(); seen.moved = document.body.dataset.range;
  key("0"); await pause(); seen.again = document.body.dataset.range;
  await Plotly.relayout(signal, { "xaxis.range[0]": date(70), "xaxis.range[1]": date(73) });
  await pause(); seen.dragged = document.body.dataset.range;
  seen.peak = Math.max(...signal.data[0].y.filter((y) => y !== null));
  map.emit("plotly_hover", { points: [{ customdata: 3 }] });
  await pause(); seen.shape = signal.layout.shapes.length; seen.here = here.textContent;
  signal.emit("plotly_hover", { points: [{ x: date(80) }] });
  await pause(); seen.pointed = document.body.dataset.pointed;
  seen.marked = map.data[map.data.length - 1].x.length;
  map.emit("plotly_click", { points: [{ customdata: 0 }] });
  await pause(); seen.jumped = document.body.dataset.range;
  document.body.dataset.seen = JSON.stringify(seen);
})();
</script>
"""


@pytest.mark.slow
def test_the_page_in_a_browser(page, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no Chromium on this machine")
    acted = tmp_path / "acted.html"
    acted.write_text(page.read_text(encoding="utf-8") + ACTIONS, encoding="utf-8")
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--use-angle=swiftshader", "--dump-dom",
            "--enable-unsafe-swiftshader", "--window-size=1200,1300",
            "--virtual-time-budget=60000", f"--user-data-dir={tmp_path / 'profile'}",
            acted.as_uri(),
        ],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    found = re.search(r'data-seen="([^"]*)"', done.stdout)
    assert found, done.stderr[-2000:]
    seen = json.loads(found[1].replace("&quot;", '"'))
    names = ("whole", "zoomed", "moved", "again", "dragged", "jumped")
    ranges = {name: [float(x) for x in seen[name].split()] for name in names}
    assert ranges["whole"] == ranges["again"] == [0, SECONDS]
    assert ranges["zoomed"] == [30, 90]
    assert ranges["moved"] == [60, 120]
    assert ranges["dragged"] == [70, 73]
    assert seen["peak"] == pytest.approx(140, rel=1e-3)
    assert seen["shape"] == 2  # the gap, and the window
    assert "window at 00:00:03" in seen["here"]
    assert 74 <= float(seen["pointed"]) <= 80
    assert seen["marked"] == 1
    assert ranges["jumped"][0] == 0
    assert ranges["jumped"][1] < 40
