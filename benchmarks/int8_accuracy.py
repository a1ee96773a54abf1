"""Accuracy on held-out people, of float32 and of int8 embeddings.

    primus-jax export runs/small --to encoders/small --int8
    python benchmarks/int8_accuracy.py --encoder encoders/small --data data/usc_had

Windows longer than those of the ONNX file are cut to its length, for both. The classifier is
trained and tested on embeddings of the same kind. The head is the one that the folder recommends.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
from accelerometer_only import labelled

from primus_jax.classify.adapt import evaluate
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import load_encoder


class Onnx:
    """`Encoder.encode_windows`, by the int8 file of a folder."""

    def __init__(self, folder: Path):
        self.session = onnxruntime.InferenceSession(
            str(folder / "model_int8.onnx"), providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0]
        self.samples = self.input.shape[1]

    def encode_windows(self, imu: np.ndarray) -> np.ndarray:
        """`[n, time, 6]` -> `[n, dim]`."""
        parts = np.array_split(imu[:, : self.samples], max(1, len(imu) // 256))
        return np.concatenate([self.session.run(None, {self.input.name: x})[0] for x in parts])


@dataclasses.dataclass
class Cut:
    """An encoder that sees the first `samples` of every window."""

    encoder: object
    samples: int

    def encode_windows(self, imu: np.ndarray) -> np.ndarray:
        """`[n, time, 6]` -> `[n, dim]`."""
        return self.encoder.encode_windows(imu[:, : self.samples])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--data", nargs="+", type=Path, required=True)
    parser.add_argument("--most", type=int, default=300, help="windows of each class")
    args = parser.parse_args()
    rounded = Onnx(args.encoder)
    exact = Cut(load_encoder(args.encoder), rounded.samples)
    print("| data | windows | float32 % | int8 % | smallest cosine |")
    print("| ---- | ------: | --------: | -----: | --------------: |")
    for path in args.data:
        folder = DatasetFolder(path)
        both = [labelled(encoder, folder, args.most, True) for encoder in (exact, rounded)]
        scores = [100 * evaluate(data).row()["macro_f1"] for data in both]
        x, y = (data.embedding.astype(np.float64) for data in both)
        cosine = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
        print(
            f"| {folder.name} | {len(x)} | {scores[0]:.1f} | {scores[1]:.1f} | {cosine.min():.4f} |"
        )
    print("\nmacro-F1 of windows held out, by person")


if __name__ == "__main__":
    main()
