"""HHAR: 9 people, 6 activities, 8 phones at the waist and 4 watches, two on each arm, 50 to 200 Hz.

By its readme, there are `Phones_accelerometer.csv`, `Phones_gyroscope.csv`,
`Watch_accelerometer.csv` and `Watch_gyroscope.csv`. Their columns are:

    Index
    Arrival_Time    ms, when the application got the sample
    Creation_Time   ns, by the operating system
    x, y, z         m/s^2 with gravity, or rad/s
    User, Model, Device
    gt              activity, or null

Rows are in the order of arrival, some twice. Creation times start anywhere, for each sensor of each
device. The reader moves them onto the clock of arrival by their median difference. Where that
difference jumps, the device was restarted, and the reader measures it anew. Reading needs pyarrow
and 6 GB of memory.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_prep.har.raw_files import read_large_csv
from data_prep.har.source import Source, believable
from data_prep.streams import MISSING_ROWS, UNLABELLED, Stream, alone, join, ordered
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording

PLACEMENTS = {"Phones": "waist", "Watch": "wrist"}
ACTIVITIES = {
    "bike": "cycling",
    "sit": "sitting",
    "stand": "standing",
    "walk": "walking",
    "stairsup": "walking upstairs",
    "stairsdown": "walking downstairs",
}
RESTART = 5.0
BROKEN = "rows of a clock that runs 5 % too fast or slow"
Key = tuple[str, str, str]


def recordings(raw: Path, drops: Counter[str]) -> Iterator[Recording]:
    """One recording for each activity of a person on each device, cut at gaps."""
    # the archive of the experiment at rest holds files of the same names without activities
    name = r"(?<!Still exp/)(Phones|Watch)_accelerometer\.csv"
    for path, match in SOURCE.files(raw, "*_accelerometer.csv", name, drops):
        kind = match[1]
        acc = _sensor(path, drops)
        gyro = _sensor(path.with_name(f"{kind}_gyroscope.csv"), drops)
        devices = {device for _, device, _ in gyro}
        for (person, device, code), stream in acc.items():
            where = f"{path}, {device}"
            if device not in devices:
                rate, pieces = alone(stream, where, drops)
            else:
                nothing = Stream(np.empty(0), np.empty((0, 3)))
                other = gyro.get((person, device, code), nothing)
                rate, pieces = join(stream, other, where, drops)
            for number, piece in enumerate(pieces, 1):
                yield from believable(
                    drops,
                    id=f"hhar/{kind}/{person}/{device}/{code}#{number}",
                    signal=piece.signal,
                    rate_hz=rate,
                    subject=f"hhar/{person}",
                    placement=PLACEMENTS[kind],
                    label=ACTIVITIES[code],
                    has_gyro=device in devices,
                    start_seconds=piece.start_seconds,
                )


def _sensor(path: Path, drops: Counter[str]) -> dict[Key, Stream]:
    numbers = dict.fromkeys(("Arrival_Time", "Creation_Time", "x", "y", "z"), "number")
    table, words = read_large_csv(path, numbers, ("User", "Device", "gt"))
    people, devices, activities = (words[name] for name in ("User", "Device", "gt"))
    unknown = {activities.names[code] for code in np.unique(activities.codes)}
    unknown -= {"", "null", *ACTIVITIES}
    if unknown:
        raise PrimusError(
            f"{path}: activity {min(unknown)!r}; expected {list(ACTIVITIES)} or null."
        )
    values = np.stack([table[axis] for axis in "xyz"], 1)
    arrival, creation = table["Arrival_Time"] / 1e3, table["Creation_Time"] / 1e9
    timed = np.isfinite(arrival) & np.isfinite(creation)
    drops[MISSING_ROWS] += int((~timed).sum())
    result = {}
    owners = people.codes.astype(np.int64) * len(devices.names) + devices.codes
    for owner in np.unique(owners):
        rows = np.flatnonzero((owners == owner) & timed)
        time = _clock(arrival[rows], creation[rows], drops)
        person, device = divmod(int(owner), len(devices.names))
        for code in np.unique(activities.codes[rows]):
            chosen = activities.codes[rows] == code
            activity = activities.names[code]
            if activity not in ACTIVITIES:
                drops[UNLABELLED] += int(chosen.sum())
                continue
            chosen &= np.isfinite(time)
            key = (people.names[person], devices.names[device], activity)
            result[key] = ordered(time[chosen], values[rows[chosen]], drops)
    return result


def _clock(arrival: np.ndarray, creation: np.ndarray, drops: Counter[str]) -> np.ndarray:
    """Creation times on the clock of arrival, float64 `[rows]` seconds; NaN where broken."""
    order = np.argsort(arrival, kind="stable")
    offset = (arrival - creation)[order]
    time = np.full(len(order), np.nan)
    jumps = np.flatnonzero(np.abs(np.diff(offset)) > RESTART) + 1
    for part in np.split(order, jumps):
        spans = np.ptp(arrival[part]), np.ptp(creation[part])
        if spans[0] > 10 and abs(spans[1] / spans[0] - 1) > 0.05:
            drops[BROKEN] += len(part)
        else:
            time[part] = creation[part] + np.median(arrival[part] - creation[part])
    return time


SOURCE = Source(
    name="hhar",
    title="Heterogeneity Human Activity Recognition (HHAR)",
    licence="CC BY 4.0",
    citation=(
        "A. Stisen et al. Smart devices are different: assessing and mitigating mobile sensing "
        "heterogeneities for activity recognition. SenSys 2015."
    ),
    download="archive.ics.uci.edu, dataset 344; unzip it (twice) and give the folder as --raw.",
    layout="Phones_accelerometer.csv, Phones_gyroscope.csv, and the same two of Watch",
    recordings=recordings,
)
