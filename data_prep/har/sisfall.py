"""SisFall: 38 people, 19 daily activities (D) and 15 falls (F), one unit at the waist, 200 Hz.

By its Readme, `SA01/D01_SA01_R01.txt` has nine integers a row, closed by a semicolon. The first
three are the accelerometer ADXL345 (13 bits over +-16 g). The next three are the gyroscope ITG3200
(16 bits over +-2,000 degrees a second). The last three are a second accelerometer (MMA8451Q, 14
bits over +-8 g), which the reader does not use. A trial has one label, though it has several
phases.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_rows, text_lines
from data_prep.har.source import Source, believable
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.window import to_si

COUNTS = np.repeat([32 / 2**13, 4000 / 2**16], 3)
ACTIVITIES = {
    "D01": "walking slowly",
    "D02": "walking quickly",
    "D03": "jogging slowly",
    "D04": "jogging quickly",
    "D05": "walking upstairs and downstairs slowly",
    "D06": "walking upstairs and downstairs quickly",
    "D07": "slowly sitting in a half height chair and getting up",
    "D08": "quickly sitting in a half height chair and getting up",
    "D09": "slowly sitting in a low height chair and getting up",
    "D10": "quickly sitting in a low height chair and getting up",
    "D11": "trying to get up and collapsing into a chair",
    "D12": "sitting, lying slowly and sitting again",
    "D13": "sitting, lying quickly and sitting again",
    "D14": "changing from lying on the back to the side and back",
    "D15": "bending at the knees and getting up",
    "D16": "bending without bending the knees and getting up",
    "D17": "getting into and out of a car",
    "D18": "stumbling while walking",
    "D19": "jumping gently to reach a high object",
    "F01": "falling forward while walking after a slip",
    "F02": "falling backward while walking after a slip",
    "F03": "falling sideways while walking after a slip",
    "F04": "falling forward while walking after a trip",
    "F05": "falling forward while jogging after a trip",
    "F06": "falling vertically while walking from fainting",
    "F07": "falling from fainting with the hands on a table",
    "F08": "falling forward when trying to get up",
    "F09": "falling sideways when trying to get up",
    "F10": "falling forward when trying to sit down",
    "F11": "falling backward when trying to sit down",
    "F12": "falling sideways when trying to sit down",
    "F13": "falling forward while sitting",
    "F14": "falling backward while sitting",
    "F15": "falling sideways while sitting",
}


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each trial."""
    name = r"([DF]\d\d)_(S[AE]\d\d)_(R\d\d)\.txt"
    for path, match in SOURCE.files(raw, "*_S*_R*.txt", name, drops):
        code, person, _ = match.groups()
        if code not in ACTIVITIES:
            raise PrimusError(f"{path}: activity {code}; expected D01 to D19 or F01 to F15.")
        rows = read_rows(text_lines(path), str(path), 9, end=";", use=range(6))
        yield from believable(
            drops,
            id=f"sisfall/{path.stem}",
            signal=to_si(rows * COUNTS, "g", "deg/s"),
            rate_hz=200.0,
            subject=f"sisfall/{person}",
            placement="waist",
            label=ACTIVITIES[code],
        )


SOURCE = Source(
    name="sisfall",
    title="SisFall",
    licence="none stated; published as freely available with its paper",
    citation=(
        "A. Sucerquia, J. D. Lopez, J. F. Vargas-Bonilla. SisFall: a fall and movement dataset. "
        "Sensors 17(1), 2017."
    ),
    download=(
        "SisFall.zip from the SISTEMIC group (sistemic.udea.edu.co) or a copy of it; unzip it and "
        "give the folder as --raw."
    ),
    layout="SA01/D01_SA01_R01.txt to SE15/D17_SE15_R05.txt",
    recordings=recordings,
)
