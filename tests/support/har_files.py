"""Small files in the official format of each public dataset, oddities included."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
from scipy.io import savemat

G = 9.80665
DEGREE = np.pi / 180


def motion(time: np.ndarray) -> np.ndarray:
    """A swaying sensor at any time, without noise: m/s^2 and rad/s, float64 `[time, 6]`."""
    sway = 0.5 * np.sin(2 * np.pi * 0.7 * time)
    turn = 0.5 * 2 * np.pi * 0.7 * np.cos(2 * np.pi * 0.7 * time)
    acc = G * np.stack([np.sin(sway), 0.1 * np.sin(time), np.cos(sway)], 1)
    return np.concatenate([acc, np.stack([0 * time, turn, 0.2 * np.cos(time)], 1)], 1)


def steady(samples: int, rate: float) -> np.ndarray:
    return motion(np.arange(samples) / rate)


def _write(path: Path, lines: list[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())


def usc_had(root: Path) -> None:
    for person, activity in ((1, 1), (2, 11)):
        path = root / f"Subject{person}" / f"a{activity}t1.mat"
        path.parent.mkdir(parents=True)
        readings = steady(500, 100) / np.repeat([G, DEGREE], 3)
        # the fields inside are not to be trusted
        savemat(path, {"subject": "9", "activity_numbr": "3", "sensor_readings": readings})


def dsads(root: Path) -> None:
    whole = steady(500, 25)
    for segment in (1, 2, 4):
        rows = whole[125 * (segment - 1) : 125 * segment]
        block = np.concatenate([rows, np.full((125, 3), 0.5)], 1)
        lines = [",".join(f"{v:.5f}" for v in np.tile(row, 5)) for row in block]
        _write(root / "a18" / "p2" / f"s{segment:02d}.txt", lines)


def utd_mhad(root: Path) -> None:
    for stem in ("a1_s1_t1", "a22_s2_t4"):
        (root / "Inertial").mkdir(exist_ok=True)
        readings = steady(150, 50) / np.repeat([G, DEGREE], 3)
        savemat(root / "Inertial" / f"{stem}_inertial.mat", {"d_iner": readings})
    (root / "Inertial" / "copy_of_inertial.mat").write_bytes(b"")


def sisfall(root: Path) -> None:
    counts = steady(600, 200) / np.repeat([32 / 2**13 * G, 4000 / 2**16 * DEGREE], 3)
    lines = [
        ",".join(f"{v:4d}" for v in [*row, 7, 7, 7]) + ";" for row in counts.round().astype(int)
    ]
    _write(root / "SA01" / "D01_SA01_R01.txt", lines, "\r\n")
    _write(root / "SE06" / "F05_SE06_R02.txt", lines, "\r\n")


def classyglass(root: Path) -> None:
    for part, user, number, sensors in (
        ("Dataset_1A", 1, 1, 2),
        ("Dataset_1B", 24, 307, 2),
        ("Dataset_2/SensorData", 2, 12, 2),
        ("Dataset_1A", 1, 2, 1),
    ):
        stem = f"{number}_MetaWear_2019-09-14T13.41.43.335_F1E55E2FE95F"
        for sensor, unit, scale, late in (
            ("Accelerometer", "g", G, 0),
            ("Gyroscope", "deg/s", DEGREE, 4),
        )[:sensors]:
            ms = np.arange(400) * 10 + late
            values = motion(ms / 1e3)[:, :3] if sensor[0] == "A" else motion(ms / 1e3)[:, 3:]
            lines = [
                "epoch (ms),time (-13:00),elapsed (s),"
                + ",".join(f"{a}-axis ({unit})" for a in "xyz")
            ]
            lines += [
                f"{1568482903468 + t},2019-09-14T13:41:43,{t / 1e3:.3f},"
                + ",".join(f"{v:.6f}" for v in row)
                for t, row in zip(ms, values / scale, strict=True)
            ]
            _write(root / part / f"User{user}" / f"{stem}_{sensor}_100.000Hz_1.4.5.csv", lines)


def uci_har(root: Path) -> None:
    # split, then (person, activity, windows that continue one another)
    for split, stretches in {
        "train": ((1, 1, 4), (1, 5, 2)),
        "test": ((2, 1, 3), (2, 1, 1)),
    }.items():
        windows, people, labels = [], [], []
        for index, (person, activity, count) in enumerate(stretches):
            whole = motion(np.arange(64 * (count + 1)) / 50 + 10 * index) / [G, G, G, 1, 1, 1]
            windows += [whole[64 * i : 64 * i + 128] for i in range(count)]
            people += [str(person)] * count
            labels += [str(activity)] * count
        _write(root / split / f"y_{split}.txt", labels)
        _write(root / split / f"subject_{split}.txt", people)
        for column, name in enumerate(
            f"{k}_{a}" for k in ("total_acc", "body_gyro") for a in "xyz"
        ):
            lines = ["  " + "  ".join(f"{v:.7e}" for v in w[:, column]) for w in windows]
            _write(root / split / "Inertial Signals" / f"{name}_{split}.txt", lines)


def motionsense(root: Path) -> None:
    names = [f"attitude.{a}" for a in ("roll", "pitch", "yaw")]
    names += [f"{k}.{a}" for k in ("gravity", "rotationRate", "userAcceleration") for a in "xyz"]
    truth = steady(200, 50)
    gravity = np.tile([0.0, 0.0, -1.0], (200, 1))
    rows = np.concatenate([0 * gravity, gravity, truth[:, 3:], -truth[:, :3] / G - gravity], 1)
    lines = ["," + ",".join(names)]
    lines += [f"{i}," + ",".join(f"{v:.7f}" for v in row) for i, row in enumerate(rows)]
    _write(root / "A_DeviceMotion_data" / "dws_1" / "sub_1.csv", lines)
    _write(root / "A_DeviceMotion_data" / "wlk_15" / "sub_24.csv", lines)


def pamap2(root: Path) -> None:
    truth, rows = steady(1000, 100), np.full((1000, 54), np.nan)
    rows[:, 0] = 8.38 + np.arange(1000) / 100
    rows[:, 1] = np.repeat([0, 4, 0, 24], [100, 500, 100, 300])
    rows[::11, 2] = 100
    for first in (3, 20, 37):
        rows[:, first] = 33.5
        rows[:, first + 1 : first + 4] = truth[:, :3]
        rows[:, first + 4 : first + 7] = 61.0
        rows[:, first + 7 : first + 10] = truth[:, 3:]
        rows[:, first + 10 : first + 17] = 1.0
    rows[300:303, 3:20] = np.nan
    lines = [" ".join("NaN" if np.isnan(v) else f"{v:.7g}" for v in row) for row in rows]
    _write(root / "PAMAP2_Dataset" / "Protocol" / "subject101.dat", lines)
    _write(root / "PAMAP2_Dataset" / "Optional" / "subject105.dat", lines[:650])


def opportunity(root: Path) -> None:
    truth, rows = steady(600, 30), np.zeros((600, 250))
    rows[:, 0] = np.round(np.arange(600) * 1000 / 30)
    rows[:, 243] = np.repeat([0, 1, 2, 0], [60, 240, 240, 60])
    rows[:, 1:40:7] = np.nan
    for first in (38, 51, 64, 77, 90):
        rows[:, first - 1 : first + 2] = np.round(truth[:, :3] / 9.8 * 1000)
        rows[:, first + 2 : first + 5] = np.round(truth[:, 3:] * 1000)
    rows[:, 22:25] = np.round(truth[:, :3] / 9.8 * 1000)
    rows[400:410, 50:63] = np.nan
    lines = [" ".join("NaN" if np.isnan(v) else f"{v:.0f}" for v in row) for row in rows]
    _write(root / "dataset" / "S1-ADL1.dat", lines)
    _write(root / "dataset" / "S4-Drill.dat", lines[:300])


def capture24(root: Path) -> None:
    words = ["7030 sleeping;MET 0.95", "", "17250 walking, 3.0 mph;MET 3.5"]
    _write(
        root / "annotation-label-dictionary.csv",
        [
            "annotation,label:WillettsSpecific2018,label:Willetts2018",
            f"{words[0]},sleep,sleep",
            f'"{words[2]}",walking,walking',
        ],
    )
    start = np.datetime64("2016-11-13T02:18:00.000000")
    times = start + np.arange(1200) * np.timedelta64(10, "ms")
    lines = ["time,x,y,z,annotation"]
    for t, row, code in zip(times, steady(1200, 100) / G, np.repeat([0, 1, 2], 400), strict=True):
        word = f'"{words[code]}"' if "," in words[code] else words[code]
        lines.append(f"{str(t).replace('T', ' ')},{row[0]:.6f},{row[1]:.6f},{row[2]:.6f},{word}")
    for person in ("P001", "P101"):
        with gzip.open(root / f"{person}.csv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")


def wisdm(root: Path) -> None:
    for device in ("phone", "watch"):
        for sensor, begin, late in (("accel", 0, 0.0), ("gyro", 3, 0.013)):
            lines = []
            for letter, first in (("A", 0.0), ("S", 100.0)):
                time = first + late + np.arange(200) / 20
                if letter == "S":
                    time[100:] += 5
                ns = np.round(time * 1e9).astype(np.int64) + 252207666810782
                values = motion(time)[:, begin : begin + 3]
                rows = [
                    f"1600,{letter},{t},{x},{y},{z};"
                    for t, (x, y, z) in zip(ns, values.tolist(), strict=True)
                ]
                lines += rows if letter == "S" else [*rows, rows[-1], rows[3]]
            _write(root / "raw" / device / sensor / f"data_1600_{sensor}_{device}.txt", lines)
    path = root / "raw" / "watch" / "accel" / "data_1601_accel_watch.txt"
    _write(path, ["1601,A,1,0,0,9.8;"])


def realworld(root: Path) -> None:
    def csv(begin: int, first: float, late: float, samples: int) -> str:
        time = first + late + np.arange(samples) / 50
        ms = np.round(time * 1e3).astype(np.int64)
        lines = ["id,attr_time,attr_x,attr_y,attr_z"]
        lines += [
            f"{i},{1436981600000 + t}," + ",".join(f"{v:.6f}" for v in row)
            for i, (t, row) in enumerate(
                zip(ms, motion(ms / 1e3)[:, begin : begin + 3], strict=True)
            )
        ]
        return "\n".join(lines) + "\n"

    def archive(files: dict[str, str | bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, text in files.items():
                file.writestr(name, text)
        return buffer.getvalue()

    data = root / "proband4" / "data"
    data.mkdir(parents=True)
    for short, long, begin, late in (("acc", "acc", 0, 0.0), ("gyr", "Gyroscope", 3, 0.007)):
        places = ("chest", "upperarm", "shin")[: 3 if short == "acc" else 2]
        files = {f"{long}_walking_{p}.csv": csv(begin, 0, late, 300) for p in places}
        (data / f"{short}_walking_csv.zip").write_bytes(archive({**files, "readMe": "50 Hz"}))
        parts = {
            f"{short}_climbingup_{k}_csv.zip": archive(
                {f"{long}_climbingup_{k}_waist.csv": csv(begin, 60 * k, late, 200), "readMe": ""}
            )
            for k in (1, 2)
        }
        (data / f"{short}_climbingup_csv.zip").write_bytes(archive(parts))


def hhar(root: Path) -> None:
    header = "Index,Arrival_Time,Creation_Time,x,y,z,User,Model,Device,gt"
    rng = np.random.default_rng(0)

    def rows(
        begin: int, user: str, device: str, code: str, first: float, start_ns: int, late: float
    ):
        time = first + late + np.arange(500) / 100
        arrival = np.round((1424696633 + time + rng.uniform(0, 0.05, 500)) * 1e3).astype(np.int64)
        creation = np.round(time * 1e9).astype(np.int64) + start_ns
        order = np.arange(500)
        order[[10, 11]] = [11, 10]
        lines = [
            f"{i},{arrival[i]},{creation[i]},"
            + ",".join(f"{v:.6f}" for v in motion(time[i : i + 1])[0, begin : begin + 3])
            + f",{user},nexus4,{device},{code}"
            for i in order
        ]
        return [*lines, lines[-1]]

    for kind in ("Phones", "Watch"):
        for sensor, begin, late in (("accelerometer", 0, 0.0), ("gyroscope", 3, 0.003)):
            lines = [header]
            # the watch started its clock at zero, and again before the stairs
            boot = 1424696631913248572 if kind == "Phones" else 27920678471000 + 999999 * begin
            lines += rows(begin, "a", f"{kind}_1", "walk", 0, boot, late)
            lines += rows(begin, "a", f"{kind}_1", "null", 10, boot, late)
            again = boot if kind == "Phones" else boot - 20 * 10**9
            lines += rows(begin, "a", f"{kind}_1", "stairsup", 20, again, late)
            if sensor == "accelerometer":
                lines += rows(begin, "b", f"{kind}_2", "bike", 30, boot, late)
            _write(root / f"{kind}_{sensor}.csv", lines)


def wisdm_v1(root: Path) -> None:
    lines = []
    for person, word, first in (
        (33, "Jogging", 0.0),
        (5, "Upstairs", 100.0),
        (33, "Sitting", 30.0),
    ):
        time = first + np.arange(160) / 20
        if word == "Upstairs":
            time[100:] += 5
        ns = np.round(time * 1e9).astype(np.int64) + 49105962326000
        values = motion(time)[:, :3].tolist()
        rows = [
            f"{person},{word},{t},{x},{y},{z};" for t, (x, y, z) in zip(ns, values, strict=True)
        ]
        # the second half of a stretch may stand before the first
        lines += [*rows[80:], *rows[:80]] if word == "Sitting" else rows
    lines[4:6] = [lines[4] + lines[5]]  # two rows on a line
    lines[10] = lines[10].replace(";", ",;")  # a comma behind z
    lines[20] = "33,Jogging,49105962326001,4.4,4.4,;"  # without z
    lines[30] = "33,Jogging,0,0,0,0;"
    lines[40:40] = ["", ";", "33,Jog"]
    _write(root / "WISDM_ar_v1.1" / "WISDM_ar_v1.1_raw.txt", lines)


def daphnet(root: Path) -> None:
    for stem, codes in (("S01R02", [0, 1, 2, 0]), ("S10R01", [1, 1, 1, 0])):
        ms = np.round(np.arange(800) * 1000 / 64).astype(int)
        mg = np.round(motion(ms / 1e3)[:, :3] / G * 1000).astype(int)
        code = np.repeat(codes, 200)
        lines = [
            " ".join(map(str, [t, *np.tile(row, 3), k]))
            for t, row, k in zip(ms, mg, code, strict=True)
        ]
        _write(root / "dataset" / f"{stem}.txt", lines)


def pvs(root: Path) -> None:
    places = ("dashboard", "above_suspension", "below_suspension")
    header = ["timestamp"]
    header += [f"{k}_{a}_{p}" for k in ("acc", "gyro") for p in places for a in "xyz"]
    header += [f"mag_{a}_{p}" for p in places[:2] for a in "xyz"]
    header += [f"temp_{p}" for p in places] + ["timestamp_gps", "latitude", "longitude", "speed"]
    time = np.arange(620) / 100
    truth = motion(time) / np.repeat([1, DEGREE], 3)
    rows = np.concatenate([truth[:, :3]] * 3 + [truth[:, 3:]] * 3 + [np.ones((620, 13))], 1)
    roads = ("dirt_road", "cobblestone_road", "asphalt_road")
    marks = np.eye(3, dtype=int)[np.repeat([2, 0, 1], [220, 200, 200])]
    marks[:20] = 0
    for drive, sides in ((1, ("left", "right")), (7, ("left",))):
        folder = root / f"PVS {drive}"
        lines = [
            f"{1577218796 + t:.2f}," + ",".join(f"{v:.6f}" for v in row)
            for t, row in zip(time, rows, strict=True)
        ]
        for side in sides:
            _write(folder / f"dataset_gps_mpu_{side}.csv", [",".join(header), *lines])
        labels = ["paved_road,unpaved_road," + ",".join(roads) + ",no_speed_bump"]
        labels += [f"1,0,{a},{b},{c},1" for a, b, c in marks.tolist()]
        _write(folder / "dataset_labels.csv", labels)


def goat(root: Path) -> None:
    words = ["", "standing", "lying", "grazing", "walking", "Trotting"]
    header = "label,animal_ID,segment_ID,timestamp_ms,ax,ay,az,axhg,ayhg,azhg,cx,cy,cz,gx,gy,gz"
    for goat_name, places in (("G1", "AF"), ("G5", "C")):
        ms = np.arange(1200) * 10
        lines = [header]
        for t, row, k in zip(ms, motion(ms / 1e3), np.repeat(np.arange(6), 200), strict=True):
            cells = ",".join(f"{v:.6f}" for v in [*row[:3], *row[:3], 1, 1, 1, *row[3:]])
            lines.append(f"{words[k]},{goat_name},{k},{t},{cells}")
        for place in places:
            _write(root / goat_name / f"pos_{place}.csv", lines)
