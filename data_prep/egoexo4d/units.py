"""Ego-Exo4D, take by take."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

from data_prep.egoexo4d import csv, vrs
from data_prep.egoexo4d.activity import activity_of, prompt_of
from data_prep.egoexo4d.alignment import Alignment, Limits, measure
from data_prep.egoexo4d.cutting import Cutter, Segment
from data_prep.egoexo4d.descriptions import narrations, read_descriptions
from data_prep.egoexo4d.keysteps import Keysteps, read_keysteps
from data_prep.egoexo4d.samples import STREAMS, Samples
from data_prep.egoexo4d.takes import Take, broken_takes, read_split, read_takes
from data_prep.egoexo4d.tasks import ACTIVITY, KEYSTEP, NARRATIONS
from data_prep.egoexo4d.timesync import frame_stamps
from data_prep.quality import read_bad_windows
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import TOO_SHORT

NOTHING_TOLD = {
    NARRATIONS: "takes without a usable sentence",
    ACTIVITY: "takes of none of the eight activities",
    KEYSTEP: "takes without keysteps",
}
NO_IMU = "takes without an IMU file"
NO_TIMESYNC = "takes aligned by their first sample, without timesync.csv (kept)"
SHORT = "takes of which the IMU covers less than 99 % (the rest is kept)"
# What metadata.json says of a take's alignment; the report has it all.
ALIGNED = ("method", "offset_seconds", "clock_error", "rate_error", "gaps", "coverage", "refused")
_ENOUGH = 0.99


@dataclasses.dataclass(frozen=True)
class EgoExo4D:
    """A downloaded Ego-Exo4D as a `data_prep.dataset.units.Corpus`; a unit is a take.

    Attributes:
        raw: the folder that the downloader filled.
        task: of the windows: narrations, activity or keystep.
        stream: right (1202-1, 1000 Hz) or left (1202-2, 800 Hz).
        imu: vrs or csv files; auto takes the CSV file of a take if there is one.
        window_seconds: of the windows that will be cut.
        limits: of the alignment.
        others: see `descriptions.narrations`, as the next two.
        unsure: keep unsure sentences.
        rejected: keep rejected annotations.
        bad_windows: a published list of bad windows, or None.
        alignment_report: a folder for one JSON file of measurements per take; None writes none.
    """

    raw: Path
    task: str = NARRATIONS
    stream: str = "right"
    imu: str = "auto"
    window_seconds: float = 5.0
    limits: Limits = dataclasses.field(default_factory=Limits)
    others: bool = False
    unsure: bool = True
    rejected: bool = False
    bad_windows: Path | None = None
    alignment_report: Path | None = None

    name = "Ego-Exo4D"
    source = "Ego-Exo4D, Project Aria glasses of the camera wearer, https://ego-exo4d-data.org"
    licence = "Ego-Exo4D licence agreement: neither the data nor what is made of them is passed on"

    @property
    def version(self) -> str:
        """The number of takes of `takes.json`: the download does not state its version."""
        return f"{len(read_takes(self.raw)):,} takes"

    def units(self) -> list[str]:
        """Sorted take uids, those with an entry that cannot be read included."""
        return sorted({*read_takes(self.raw), *broken_takes(self.raw)})

    def official_split(self) -> dict[str, str]:
        """Participant -> side of the published split (`takes.read_split`)."""
        return read_split(self.raw)

    def facts(self) -> dict[str, Any]:
        """Under "alignment", `ALIGNED` of every take's report, by take uid."""
        found = {}
        for unit in self.units():
            report = self._report_file(unit)
            if report is not None and report.is_file():
                measured = json.loads(report.read_text(encoding="utf-8"))
                if measured["stream"] == self.stream:
                    found[unit] = {name: measured[name] for name in ALIGNED}
        return {"alignment": found}

    def recordings(self, unit: str) -> tuple[list[Recording], Counter[str]]:
        """The recordings of a take, one for each gap-free piece (and keystep), and the drops.

        `start_seconds` and narrations count on the clock of the take's frame-aligned videos.

        Raises:
            PrimusError: a broken file, or a broken entry of takes.json; names it.
        """
        if unit in broken_takes(self.raw):
            raise PrimusError(broken_takes(self.raw)[unit])
        drops: Counter[str] = Counter()
        take = read_takes(self.raw)[unit]
        segments = self._segments(take, drops)
        if not segments:
            drops[NOTHING_TOLD[self.task]] += 1
            return [], +drops
        samples = self._samples(take, drops)
        if samples is None or len(samples.stamps) < 2:
            drops[NO_IMU if samples is None else TOO_SHORT] += 1
            return [], +drops
        rate = STREAMS[self.stream][1]
        alignment = measure(samples.stamps, rate, take.seconds, frame_stamps(take))
        refusal = alignment.refusal(self.limits)
        self._report(take, alignment, refusal)
        if refusal:
            drops[refusal] += 1
            return [], +drops
        drops[NO_TIMESYNC] += alignment.method == "first sample"
        drops[SHORT] += alignment.coverage < _ENOUGH
        listed = read_bad_windows(self.bad_windows) if self.bad_windows else {}
        cutter = Cutter(rate, f"head, {self.stream} temple of Aria glasses", self.window_seconds)
        found = cutter.recordings(
            take,
            segments,
            alignment.take_time(samples.stamps),
            samples.signal,
            listed.get(unit, ()),
            drops,
        )
        return found, +drops

    def _segments(self, take: Take, drops: Counter[str]) -> list[Segment]:
        if self.task == NARRATIONS:
            told = narrations(
                read_descriptions(self.raw).get(take.uid, ()),
                drops,
                others=self.others,
                unsure=self.unsure,
                rejected=self.rejected,
            )
            return [Segment(0.0, take.seconds, narrations=told)] if told else []
        if self.task == KEYSTEP:
            found = read_keysteps(self.raw).get(take.uid, Keysteps())
            drops.update(found.unreadable)
            return [Segment(step.start, step.end, step.name, step.text) for step in found.steps]
        activity = activity_of(take.activity)
        text = prompt_of(activity, take.uid) if activity else ""
        return [Segment(0.0, take.seconds, activity, text)] if activity else []

    def _samples(self, take: Take, drops: Counter[str]) -> Samples | None:
        table = take.folder / csv.csv_name(take.camera, self.stream)
        if self.imu != "vrs" and table.is_file():
            return csv.read_csv(table, drops)
        file = take.vrs_file
        if self.imu == "csv" or file is None:
            return None
        return vrs.read_vrs(file, self.stream, drops)

    def _report(self, take: Take, alignment: Alignment, refusal: str) -> None:
        file = self._report_file(take.uid)
        if file is None:
            return
        found = {"take_uid": take.uid, "folder": take.folder.name, "stream": self.stream}
        found |= dataclasses.asdict(alignment) | {"refused": refusal}
        with replace_file(file) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def _report_file(self, unit: str) -> Path | None:
        return self.alignment_report and self.alignment_report / f"{unit}.json"
