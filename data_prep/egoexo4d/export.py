"""VRS to CSV, for machines without the VRS reader: `python -m data_prep.egoexo4d.export DIR`.

The export writes both IMUs of every take of the download DIR beside its VRS file. A sample takes
about 10 us and 90 bytes. The export leaves existing files as they are, so that a stopped export can
go on.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from data_prep.egoexo4d.csv import csv_name, write_csv
from data_prep.egoexo4d.samples import STREAMS
from data_prep.egoexo4d.takes import read_takes
from data_prep.egoexo4d.vrs import read_vrs
from primus_jax.errors import PrimusError


def export(raw: Path) -> tuple[int, list[str]]:
    """Write the CSV files that are missing; return their number, and the errors.

    Raises:
        PrimusError: no readable takes.json.
    """
    written, failed = 0, []
    for take in read_takes(raw).values():
        file = take.vrs_file
        if file is None:
            continue
        for stream in STREAMS:
            path = take.folder / csv_name(take.camera, stream)
            if path.is_file():
                continue
            try:
                write_csv(path, read_vrs(file, stream, Counter()))
            except PrimusError as error:
                failed.append(str(error))
                continue
            written += 1
    return written, failed


def main(words: list[str] | None = None) -> int:
    """Run the export; the exit status is 1 if a file failed."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.egoexo4d.export", description=__doc__
    )
    parser.add_argument("raw", type=Path, metavar="DIR", help="the folder that `egoexo` filled")
    try:
        written, failed = export(parser.parse_args(words).raw)
    except PrimusError as error:
        written, failed = 0, [str(error)]
    print(f"{written} files written, {len(failed)} failed")
    for message in failed:
        print(f"FAILED {message}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
