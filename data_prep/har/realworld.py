"""RealWorld (HAR) 2016: 15 people, 8 activities, seven phones or watches on the body, 50 Hz.

By its web page and the readMe in each archive, `proband1/data/acc_walking_csv.zip` holds
`acc_walking_chest.csv` and six more. `gyr_walking_csv.zip` holds `Gyroscope_walking_chest.csv` and
six more. Their rows are id, attr_time (ms since 1970), attr_x, attr_y, attr_z in m/s^2 with gravity
or rad/s. Some archives hold archives instead, one for each part of an interrupted recording
(`acc_climbingup_1_csv.zip` ...). The reader joins the parts by the times of each sensor.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_rows
from data_prep.har.source import ODD_NAME, Source, believable
from data_prep.streams import join, ordered
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording

PLACEMENTS = {
    "chest": "chest",
    "forearm": "forearm",
    "head": "head",
    "shin": "shin",
    "thigh": "thigh",
    "upperarm": "upper arm",
    "waist": "waist",
}
ACTIVITIES = {
    "climbingdown": "climbing down stairs",
    "climbingup": "climbing up stairs",
    "jumping": "jumping",
    "lying": "lying",
    "running": "running",
    "sitting": "sitting",
    "standing": "standing",
    "walking": "walking",
}
ALONE = "accelerometer files without a gyroscope file"


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each person, activity and placement, cut at gaps."""
    name = r"proband(\d+)/data/acc_([a-z]+)_csv\.zip"
    for path, match in SOURCE.files(raw, "acc_*_csv.zip", name, drops):
        person, activity = match.groups()
        if activity not in ACTIVITIES:
            raise PrimusError(f"{path}: activity {activity}; expected one of {list(ACTIVITIES)}.")
        acc = _sensor(path, drops)
        other = path.with_name(f"gyr_{activity}_csv.zip")
        gyro = _sensor(other, drops) if other.is_file() else {}
        for place, rows in acc.items():
            if place not in gyro:
                drops[ALONE] += 1
                continue
            sensors = [ordered(r[:, 0] / 1e3, r[:, 1:], drops) for r in (rows, gyro[place])]
            rate, pieces = join(sensors[0], sensors[1], f"{path}, {place}", drops)
            for number, piece in enumerate(pieces, 1):
                yield from believable(
                    drops,
                    id=f"realworld/{person}/{activity}/{place}#{number}",
                    signal=piece.signal,
                    rate_hz=rate,
                    subject=f"realworld/{person}",
                    placement=PLACEMENTS[place],
                    label=ACTIVITIES[activity],
                    start_seconds=piece.start_seconds,
                )


def _sensor(path: Path, drops: Counter[str]) -> dict[str, np.ndarray]:
    """Rows [time, x, y, z] by place, of all parts of one recording."""
    parts: dict[str, list[np.ndarray]] = {}
    for where, text in _texts(path.read_bytes(), str(path)):
        match = re.search(r"_([a-z]+)(?:_\d+)?\.csv$", where)
        if match is None or match[1] not in PLACEMENTS:
            drops[ODD_NAME] += 1
            continue
        rows = read_rows(text.splitlines(), where, 5, use=range(1, 5), header=1)
        parts.setdefault(match[1], []).append(rows)
    return {place: np.concatenate(rows) for place, rows in parts.items()}


def _texts(data: bytes, where: str) -> Iterator[tuple[str, str]]:
    """The CSV files of an archive and of the archives in it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in sorted(archive.namelist()):
                if name.lower().endswith(".zip"):
                    yield from _texts(archive.read(name), f"{where}/{name}")
                elif name.lower().endswith(".csv") and "__MACOSX" not in name:
                    yield f"{where}/{name}", archive.read(name).decode("utf-8-sig")
    except (zipfile.BadZipFile, UnicodeDecodeError, EOFError, OSError) as error:
        raise PrimusError(f"{where}: not a readable archive ({error}).") from error


SOURCE = Source(
    name="realworld",
    title="RealWorld (HAR) 2016",
    licence="none stated; free for research, by its authors' page",
    citation=(
        "T. Sztyler, H. Stuckenschmidt. On-body localization of wearable devices: an investigation "
        "of position-aware activity recognition. PerCom 2016."
    ),
    download=(
        "realworld2016_dataset.zip from the RealWorld (HAR) page of the University of Mannheim; "
        "unzip it once, leave the archives in it packed, and give the folder as --raw."
    ),
    layout="proband1/data/acc_walking_csv.zip and gyr_walking_csv.zip, to proband15",
    recordings=recordings,
)
