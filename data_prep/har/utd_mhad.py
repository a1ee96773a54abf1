"""UTD-MHAD: 8 people, 27 actions, one unit at the right wrist or right thigh, 50 Hz.

By its authors' page, `aA_sS_tT_inertial.mat` holds `d_iner` `[time, 6]`: accelerometer in g, then
gyroscope in degrees a second. The unit was at the right wrist for actions 1 to 21 and at the right
thigh for 22 to 27. 50 Hz is nominal: there are 2.4 to 3.3 samples for each depth frame (30 fps).
Clips last 2 to 7 s: choose a short --window.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from data_prep.har.raw_files import read_mat
from data_prep.har.source import Source, believable
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

ACTIVITIES = (
    "swiping the right arm to the left",
    "swiping the right arm to the right",
    "waving the right hand",
    "clapping both hands in front",
    "throwing with the right arm",
    "crossing the arms at the chest",
    "shooting a basketball",
    "drawing an x",
    "drawing a circle clockwise",
    "drawing a circle counter clockwise",
    "drawing a triangle",
    "bowling with the right hand",
    "boxing to the front",
    "swinging a baseball bat from the right",
    "tennis forehand swing",
    "curling both arms",
    "tennis serve",
    "pushing with both hands",
    "knocking on a door",
    "catching with the hand",
    "picking up and throwing",
    "jogging",
    "walking",
    "standing up from sitting",
    "sitting down from standing",
    "lunging forward",
    "squatting",
)
SENTENCES = {
    "tennis forehand swing": "a person is swinging a tennis racket in a forehand",
    "tennis serve": "a person is serving in tennis",
}
ON_THE_THIGH = range(22, 28)


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each clip."""
    name = r"a(\d+)_s(\d+)_t(\d+)_inertial\.mat"
    for path, match in SOURCE.files(raw, "*_inertial.mat", name, drops):
        action, person, trial = map(int, match.groups())
        if not 1 <= action <= len(ACTIVITIES):
            raise PrimusError(f"{path}: action {action}; expected 1 to {len(ACTIVITIES)}.")
        label = ACTIVITIES[action - 1]
        yield from believable(
            drops,
            id=f"utd_mhad/a{action}_s{person}_t{trial}",
            signal=to_si(read_mat(path, "d_iner", 6), "g", "deg/s"),
            rate_hz=50.0,
            subject=f"utd_mhad/s{person}",
            placement="right thigh" if action in ON_THE_THIGH else "right wrist",
            label=label,
            text=SENTENCES.get(label, ""),
        )


SOURCE = Source(
    name="utd_mhad",
    title="UTD-MHAD",
    licence="none stated; free for research, by its authors' page",
    citation=(
        "C. Chen, R. Jafari, N. Kehtarnavaz. UTD-MHAD: a multimodal dataset for human action "
        "recognition utilizing a depth camera and a wearable inertial sensor. ICIP 2015."
    ),
    download=(
        "Inertial.zip from personal.utdallas.edu/~kehtar/UTD-MHAD.html; unzip it and give the "
        "folder as --raw."
    ),
    layout="a1_s1_t1_inertial.mat to a27_s8_t4_inertial.mat",
    recordings=recordings,
    # The authors train on the odd and test on the even people.
    official_split={f"utd_mhad/s{p}": "train" if p % 2 else "test" for p in range(1, 9)},
)
