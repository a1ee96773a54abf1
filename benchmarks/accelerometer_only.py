"""Accuracy on held-out people with a gyroscope, and with zeros in its place.

    python benchmarks/accelerometer_only.py --encoder encoders/a encoders/b --data data/usc_had

For each encoder and dataset: windows as they are, and the same with the gyroscope's channels zero
(the policy of `Encoder.encode` for three channels). The classifier is trained and tested on the
same kind. Give an encoder pretrained with sensor dropout (`AugmentConfig.drop_gyro`) beside one
without. Windows of recordings that have no gyroscope are left out.
"""

import argparse
from pathlib import Path

import numpy as np

from primus_jax.classify.adapt import Labelled, evaluate
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.window import same_rate


def labelled(encoder: Encoder, folder: DatasetFolder, most: int, gyro: bool) -> Labelled:
    """At most `most` labelled windows of each class, spread evenly, embedded."""
    rows = [row for split in folder.splits for row in folder.source(split) if row["has_gyro"]]
    label = np.array([row["label"] for row in rows])
    there = [k for k in range(len(folder.label_names)) if (label == k).sum() > 1]
    chosen = []
    for k in there:
        mine = np.flatnonzero(label == k)
        chosen.append(mine[np.linspace(0, len(mine) - 1, min(most, len(mine))).astype(int)])
    index = np.sort(np.concatenate(chosen))
    imu = np.stack([rows[i]["imu"] for i in index])
    if not gyro:
        imu[:, :, 3:] = 0
    recording = np.array([rows[i]["recording"] for i in index])
    return Labelled(
        encoder.encode_windows(imu),
        np.searchsorted(there, label[index]),
        tuple(folder.label_names[k] for k in there),
        np.array([rows[i]["subject"] for i in index]),
        recording,
        recording,
        # in places, of which neighbours two apart may share samples
        np.asarray(index),
        2,
        gyro,
    )


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", nargs="+", type=Path, required=True)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--most", type=int, default=300, help="windows of each class")
    args = parser.parse_args()
    print("| encoder | data | held out by | with gyroscope % | accelerometer only % |")
    print("| ------- | ---- | ----------- | ---------------: | -------------------: |")
    for path in args.encoder:
        encoder = load_encoder(path)
        for data in args.data:
            folder = DatasetFolder(data)
            if not same_rate(folder.rate_hz, encoder.rate_hz):
                raise SystemExit(f"{data} is at {folder.rate_hz:g} Hz, {path} at another rate.")
            scores = []
            for gyro in (True, False):
                row = evaluate(labelled(encoder, folder, args.most, gyro)).row()
                scores.append(100 * row["macro_f1"])
            by = row["held_out_by"]
            print(f"| {path} | {folder.name} | {by} | {scores[0]:.1f} | {scores[1]:.1f} |")
    print("\nmacro-F1 of windows held out")


if __name__ == "__main__":
    main()
