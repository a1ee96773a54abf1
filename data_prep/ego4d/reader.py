"""Ego4D, one video after another."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.ego4d.layout import Layout
from data_prep.ego4d.metadata import Metadata, VideoInfo, read_metadata
from data_prep.ego4d.narrations import read_narrations
from data_prep.ego4d.placing import EXACT, Placing
from data_prep.ego4d.signals import Signal, read_signal
from data_prep.ego4d.tasks import MOVEMENT, NARRATIONS, SCENARIO, read_labels, scenario_of
from data_prep.quality import bad_spans
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording, Video

SOURCE = (
    "Ego4D. Grauman et al., Ego4D: Around the World in 3,000 Hours of Egocentric Video, CVPR 2022"
)
LICENCE = (
    "Ego4D licence agreement (ego4ddataset.com), which every user signs; not to be passed on to "
    "others"
)
NO_IMU = "videos without inertial data"
NOT_DOWNLOADED = "videos whose inertial file is not in the download"
UNKNOWN = "videos that ego4d.json does not have"
IN_NO_SPLIT = "videos in no published split"
NO_SCENARIO = "videos without exactly one of the scenarios"
NO_WINDOW = "videos without a usable narration"
NO_LABEL = "rows of the labels without a window or label"
REPEATED_ROWS = "repeated rows of the labels"


@dataclasses.dataclass(frozen=True)
class Ego4D:
    """The corpus (`data_prep.dataset.units.Corpus`): a unit is a video.

    Attributes:
        layout: where the files are.
        placing: length and rule of the windows.
        task: of the sentences and labels, one of `tasks.TASKS`.
        labels: files of labelled windows, for `MOVEMENT`.
        passes: narrators to read.
        subjects: of the narrations to keep.
        quality: leave out windows that `quality.bad_spans` names.
        listed: published bad windows by video.
        split: video uid -> split; {} without the official split. With it a video, and not a
            participant, stays on one side. Videos in no split are left out.
        name: of the corpus.
        source: the publication to cite.
        licence: in words.
    """

    layout: Layout
    placing: Placing
    task: str = NARRATIONS
    labels: tuple[Path, ...] = ()
    passes: tuple[int, ...] = (1, 2)
    subjects: tuple[str, ...] = ("wearer",)
    quality: bool = True
    listed: Mapping[str, Sequence[tuple[float, float]]] = dataclasses.field(default_factory=dict)
    split: Mapping[str, str] = dataclasses.field(default_factory=dict)
    name: str = "ego4d"
    source: str = SOURCE
    licence: str = LICENCE

    @property
    def version(self) -> str:
        """Version and date that ego4d.json states."""
        return self._metadata.version

    @property
    def _metadata(self) -> Metadata:
        return read_metadata(self.layout.metadata)

    def units(self) -> list[str]:
        """Video uids: those of ego4d.json and of inertial files, or those with labels."""
        if self.task == MOVEMENT:
            return sorted(read_labels(self.labels))
        return sorted(self._metadata.uids | {path.stem for path in self.layout.imu.glob("*.csv")})

    def official_split(self) -> dict[str, str]:
        """Video uid -> split."""
        return {_video_group(uid): split for uid, split in self.split.items()}

    def facts(self) -> dict[str, Any]:
        """{}: no further facts."""
        return {}

    def recordings(self, unit: str) -> tuple[list[Recording], Counter[str]]:
        """The recordings of one video, one for each label and video file, all of one signal.

        Raises:
            PrimusError: a broken file or entry of ego4d.json; names file, and row or video.
        """
        if unit in self._metadata.broken:
            raise PrimusError(self._metadata.broken[unit])
        drops: Counter[str] = Counter()
        info = self._metadata.videos.get(unit)
        path = self.layout.imu / f"{unit}.csv"
        label = scenario_of(info.scenarios) if info and self.task == SCENARIO else ""
        if info is None:
            drops[UNKNOWN] += 1
        elif self.split and unit not in self.split:
            drops[IN_NO_SPLIT] += 1
        elif label is None:
            drops[NO_SCENARIO] += 1
        elif not path.is_file():
            drops[NOT_DOWNLOADED if info.has_imu else NO_IMU] += 1
        elif sentences := self._sentences(unit, label or "", drops):
            signal = read_signal(path, info.seconds, drops)
            if signal is not None:
                return list(self._cut(unit, info, signal, sentences, drops)), +drops
        else:
            drops[NO_WINDOW] += 1
        return [], +drops

    def _sentences(
        self, unit: str, label: str, drops: Counter[str]
    ) -> dict[str, list[tuple[float, str]]]:
        """(seconds of the video, sentence) by label."""
        if self.task == MOVEMENT:
            labelled = read_labels(self.labels)[unit]
            rows = [row for row in labelled if row is not None]
            drops[NO_LABEL] += len(labelled) - len(rows)
            unique = list(dict.fromkeys(rows))
            drops[REPEATED_ROWS] += len(rows) - len(unique)
            found: dict[str, list[tuple[float, str]]] = {}
            for row in unique:
                found.setdefault(row.label, []).append((row.centre, row.text))
            return found
        path = self.layout.narrations
        assert path is not None  # `from_options` refuses a download without them
        narrations = read_narrations(
            path,
            unit,
            self._metadata.uids,
            drops,
            passes=self.passes,
            subjects=self.subjects,
        )
        return {label: narrations} if narrations else {}

    def _cut(
        self,
        unit: str,
        info: VideoInfo,
        signal: Signal,
        sentences: Mapping[str, Sequence[tuple[float, str]]],
        drops: Counter[str],
    ) -> Iterator[Recording]:
        bad = list(signal.spans)
        if self.quality:
            bad += bad_spans(signal.samples, signal.rate_hz, has_gyro=signal.has_gyro)
        placing = self.placing
        if self.task == MOVEMENT:
            placing = dataclasses.replace(placing, rule=EXACT)
        group = _video_group(unit)
        if info.participant is not None and not self.split:
            group = f"ego4d-{info.participant}"
        whole = self._whole_video(unit)
        placed_any = False
        for label, narrations in sorted(sentences.items()):
            placed = placing.place(
                narrations, signal, info.seconds, bad, self.listed.get(unit, ()), drops
            )
            placed_any |= bool(placed)
            for name, video, part in self._by_video(info, whole, signal, placed):
                yield Recording(
                    id=":".join(filter(None, (unit, label, name))),
                    signal=signal.samples,
                    rate_hz=signal.rate_hz,
                    subject="unknown" if info.participant is None else f"ego4d-{info.participant}",
                    group=group,
                    placement="head",
                    label=label,
                    narrations=tuple(part),
                    has_gyro=signal.has_gyro,
                    start_seconds=signal.start,
                    bad_spans=tuple((a, b) for a, b, _ in bad),
                    video=video,
                )
        drops[NO_WINDOW] += not placed_any

    def _whole_video(self, unit: str) -> Path | None:
        paths = (folder / f"{unit}.mp4" for folder in self.layout.videos)
        return next((path for path in paths if path.is_file()), None)

    def _by_video(
        self,
        info: VideoInfo,
        whole: Path | None,
        signal: Signal,
        narrations: Sequence[tuple[float, str]],
    ) -> Iterator[tuple[str, Video | None, Sequence[tuple[float, str]]]]:
        """Name, video file and narrations of the whole video, or of each clip with a window.

        The canonical time is the time in the whole video. A clip begins at its own start.
        """
        if not narrations:
            return
        if whole is not None or self.layout.clips is None:
            yield "", None if whole is None else Video(whole, signal.start), narrations
            return
        files = {clip: self.layout.clips / f"{clip.uid}.mp4" for clip in info.clips}
        half, rest = self.placing.seconds / 2, list(narrations)
        for clip, path in files.items():
            if not path.is_file():
                continue
            begin, end = clip.start - signal.start + half, clip.end - signal.start - half
            part = [item for item in rest if begin <= item[0] <= end]
            rest = [item for item in rest if not begin <= item[0] <= end]
            if part:
                yield clip.uid, Video(path, signal.start - clip.start), part
        if rest:
            yield "", None, rest


def _video_group(uid: str) -> str:
    return f"ego4d-video-{uid}"
