"""Packed recordings: one .npz file for a dataset, int16 samples with two scales.

Arrays: signal int16 [N, 6], acc_scale, gyro_scale, offsets int64 [R + 1], rate_hz; unicode [R]
subject, label, text, placement, recording; unicode scalars name, license, source; and optionally
clip int [R], recordings of which (several sensors, one motion) share a split and a video embedding.
"""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep.gait.strides import TARGETS, sampled_together, stride_targets
from primus_jax.data.embeddings import Embeddings, load_arrays
from primus_jax.errors import PrimusError
from primus_jax.recordings.cells import word
from primus_jax.recordings.clock import check_stated
from primus_jax.recordings.doubts import Doubt, doubts, of_accelerometer
from primus_jax.recordings.plausible import (
    ALONE,
    SHORT_MEDIAN_ACC,
    Stretches,
    is_stuck,
    magnitudes,
    pooled,
    stretches,
)
from primus_jax.recordings.recording import Recording

_PER_RECORDING = ("subject", "label", "text", "placement", "recording")
_WORDS = ("subject", "label", "text", "placement")
_HEADER = ("name", "license", "source")
_ARRAYS = ("signal", "acc_scale", "gyro_scale", "offsets", "rate_hz", *_PER_RECORDING, *_HEADER)
# Of the recordings of 6 s and more, so many may look as if gravity was removed: of 2,565 clips of
# Bandai-Namco's, computed from motion capture, 16 do, and of 8,055 real recordings none.
_FEW = 0.05
# Rows of a pack whose magnitudes are looked at, evenly spread.
_CHECKED_ROWS = 1_000_000
PLACEMENT = "recordings of another placement"
LABEL = "recordings with a dropped label"
NO_FEET = "targets of recordings whose feet were not sampled together"


def read_pack(path: Path) -> dict[str, np.ndarray]:
    """Read and check one pack.

    Raises:
        PrimusError: not an .npz file, a missing array, or arrays that do not fit together.
    """
    pack = load_arrays(path, (*_ARRAYS, "clip"))
    missing = [name for name in _ARRAYS if name not in pack]
    if missing:
        raise PrimusError(f"{path}: no array {missing[0]!r}; is it a pack of recordings?")
    signal, offsets = pack["signal"], pack["offsets"]
    if signal.ndim != 2 or signal.shape[1] != 6 or signal.dtype.kind != "i":
        raise PrimusError(
            f"{path}: signal {signal.dtype} {signal.shape}; expected int16 [N, 6], which times "
            f"acc_scale is m/s2 and times gyro_scale is rad/s."
        )
    if (
        offsets.ndim != 1
        or offsets.dtype.kind != "i"
        or len(offsets) < 2
        or offsets[0] != 0
        or offsets[-1] != len(signal)
        or (np.diff(offsets) < 1).any()
    ):
        raise PrimusError(
            f"{path}: offsets must rise from 0 to the {len(signal)} samples of signal."
        )
    recordings = len(offsets) - 1
    for name in (*_PER_RECORDING, *(["clip"] if "clip" in pack else [])):
        if pack[name].shape != (recordings,):
            raise PrimusError(f"{path}: {name} {pack[name].shape}; expected ({recordings},).")
        if name != "clip" and pack[name].dtype.kind != "U":
            raise PrimusError(f"{path}: {name} holds {pack[name].dtype}; expected unicode strings.")
    for name in ("acc_scale", "gyro_scale", "rate_hz"):
        value = pack[name]
        if value.shape != () or value.dtype.kind not in "iuf" or not 0 < value < np.inf:
            raise PrimusError(f"{path}: {name} is {value!r}; expected a positive number.")
    check_stated(float(pack["rate_hz"]), str(path))
    for name in _HEADER:
        if pack[name].dtype.kind != "U" or pack[name].shape != ():
            raise PrimusError(f"{path}: {name}; expected one string.")
    clean = {name: [word(cell) for cell in pack[name].tolist()] for name in _WORDS}
    clean["recording"] = [name.strip() for name in pack["recording"].tolist()]
    stripped = {name: np.array(str(pack[name]).strip()) for name in _HEADER}
    return {**pack, **{name: np.array(cells) for name, cells in clean.items()}, **stripped}


def check_units(path: Path, pack: dict[str, np.ndarray]) -> None:
    """Compare the magnitudes of a pack, and of each of its recordings, with those of a worn sensor.

    Raises:
        PrimusError: a scale that cannot be true, a gyroscope that never changes, or gravity
            removed: in the whole pack, or in more than `_FEW` of the recordings of 6 s and more.
            Arms that circle for six seconds hide gravity in one recording, not in many.
    """
    signal, offsets, rate = pack["signal"], pack["offsets"], float(pack["rate_hz"])
    scale = np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3).astype(np.float64)
    parts, doubted, judged = [], [], 0
    for r, (begin, end) in enumerate(itertools.pairwise(offsets.tolist())):
        rows = signal[begin:end] * scale
        where = f"{path}, recording {str(pack['recording'][r])!r}"
        own = stretches(rows[:, :3], rate)
        parts.append(own)
        if len(rows) >= rate:
            _check_recording(rows, where)
        if len(own.mean) >= ALONE:
            judged += 1
            if doubt := of_accelerometer(magnitudes(rows), own, "m/s2"):
                doubted.append((where, doubt))
    step = -(-len(signal) // _CHECKED_ROWS)
    for doubt, _ in doubts(signal[::step] * scale, pooled(parts), "m/s2", "rad/s"):
        raise PrimusError(_refusal(str(path), doubt))
    if len(doubted) > _FEW * judged:
        where, doubt = doubted[0]
        raise PrimusError(
            f"{_refusal(where, doubt)} {len(doubted)} of {judged} recordings are like that."
        )


def _check_recording(si: np.ndarray, where: str) -> None:
    """Refuse a recording of a second or more that no worn sensor reads, by its median alone."""
    found = magnitudes(si)
    low, high = SHORT_MEDIAN_ACC
    if not low < found.acc < high:
        none = Stretches(np.empty((0, 3)), np.empty(0))
        doubt = of_accelerometer(found, none, "m/s2")
        assert doubt is not None  # the limits of `doubts` are narrower
        raise PrimusError(_refusal(where, doubt))
    if is_stuck(si[:, 3:]):
        raise PrimusError(f"{where}: the gyroscope never changes; expected zeros if there is none.")


def _refusal(where: str, doubt: Doubt) -> str:
    return (
        f"{where}: {doubt.found}. {doubt.likely}. Expected signal * acc_scale in m/s2 with "
        f"gravity, and signal * gyro_scale in rad/s."
    )


class Packs:
    """The recordings of some packs, read one pack at a time.

    A recording whose gyroscope is zero throughout has none. Subjects, groups and ids begin with the
    pack's name, since "s01" of two packs are two people.
    `drops` counts what was left out since iteration began.

    Args:
        paths: pack files.
        embeddings: stored embeddings; sentences without one carry none.
        placements: keep only these.
        drop_labels: leave these out.
        feet: placements of the left and the right foot. The times of their strides become the
            targets of every recording of the same name (`data_prep.gait`).

    Raises:
        PrimusError: while iterating, a bad pack, or a placement or label that no pack has.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        embeddings: Embeddings | None = None,
        placements: Sequence[str] = (),
        drop_labels: Sequence[str] = (),
        feet: Sequence[str] = (),
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self.embeddings = embeddings or Embeddings({}, {})
        self.placements = frozenset(placements)
        self.drop_labels = frozenset(drop_labels)
        self.feet = tuple(feet)
        self.drops: Counter[str] = Counter()
        headers = [load_arrays(path, _HEADER) for path in self.paths]
        text = [{name: str(header.get(name, "")) for name in _HEADER} for header in headers]
        self.source = "; ".join(f"{h['name']}: {h['source']}" for h in text)
        self.licence = "; ".join(f"{h['name']}: {h['license']}" for h in text)

    def __iter__(self) -> Iterator[Recording]:
        self.drops.clear()
        placements: set[str] = set()
        labels: set[str] = set()
        for path in self.paths:
            pack = read_pack(path)
            check_units(path, pack)
            placements.update(pack["placement"].tolist())
            labels.update(pack["label"].tolist())
            yield from self._recordings(path, pack)
        for asked, known, what in (
            (self.placements | frozenset(self.feet), placements, "placement"),
            (self.drop_labels, labels, "label"),
        ):
            if asked - known:
                raise PrimusError(
                    f"no recording has the {what} {sorted(asked - known)[0]!r}; the packs have "
                    f"{sorted(known)}."
                )

    def _recordings(self, path: Path, pack: dict[str, np.ndarray]) -> Iterator[Recording]:
        name = str(pack["name"])
        scale = np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3).astype(np.float32)
        rows = pack.get("clip", np.arange(len(pack["offsets"]) - 1))
        video = self.embeddings.video.get(name)
        if video is not None and not (rows.min() >= 0 and rows.max() < len(video)):
            raise PrimusError(
                f"{path}: {name}_video_embedding has {len(video)} rows; the pack points at "
                f"{rows.max()}. Were they made from the same pack?"
            )
        signal, offsets = np.ascontiguousarray(pack["signal"]), pack["offsets"]
        used: Counter[str] = Counter()
        stems = Counter(pack["recording"].tolist())
        several = len(set(pack["placement"].tolist())) > 1
        gait = self._gait(pack, signal * scale) if self.feet else {}
        unknown = {name: np.empty((0, 2)) for name in (TARGETS if self.feet else ())}
        for r, row in enumerate(rows.tolist()):
            subject, label, text, placement, stem = (str(pack[key][r]) for key in _PER_RECORDING)
            if self.placements and placement not in self.placements:
                self.drops[PLACEMENT] += 1
                continue
            if label in self.drop_labels:
                self.drops[LABEL] += 1
                continue
            if self.feet and stem not in gait:
                self.drops[NO_FEET] += 1
            targets = gait.get(stem, unknown)
            shared = several and stems[stem] > 1
            stem = f"{name}/{stem}/{placement}" if shared else f"{name}/{stem}"
            used[stem] += 1
            known = subject not in ("", "unknown")
            yield Recording(
                id=stem if used[stem] == 1 else f"{stem}~{used[stem]}",
                signal=signal[offsets[r] : offsets[r + 1]] * scale,
                rate_hz=float(pack["rate_hz"]),
                subject=f"{name}/{subject}" if known else "unknown",
                group=f"{name}/clip{row}" if "clip" in pack else "",
                placement=placement,
                label=label,
                text=text,
                has_gyro=bool(signal[offsets[r] : offsets[r + 1], 3:].any()),
                text_embedding=self.embeddings.text.get(text),
                video_embedding=None if video is None else video[row],
                targets=targets,
            )

    def _gait(
        self, pack: dict[str, np.ndarray], si: np.ndarray
    ) -> dict[str, dict[str, np.ndarray]]:
        """Targets by the name of a recording, from the feet; `si` is the whole signal `[N, 6]`."""
        offsets, rate = pack["offsets"].tolist(), float(pack["rate_hz"])
        names = zip(pack["recording"].tolist(), pack["placement"].tolist(), strict=True)
        rows = dict(zip(names, itertools.starmap(slice, itertools.pairwise(offsets)), strict=True))
        left, right = self.feet
        found = {}
        for stem in dict.fromkeys(pack["recording"].tolist()):
            if (stem, left) not in rows or (stem, right) not in rows:
                continue
            feet = si[rows[stem, left]], si[rows[stem, right]]
            if sampled_together(feet[0], feet[1], rate):
                found[stem] = stride_targets(feet[0], feet[1], rate)
        return found
