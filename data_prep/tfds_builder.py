"""The TFDS builder: examples by shard -> ArrayRecord files, without TensorFlow.

`ShardBasedBuilder` keeps the order and needs little memory; `GeneratorBasedBuilder` keeps a whole
split in memory and, above 1 GiB, needs TensorFlow to sort it on disk.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.folder import FLAGS, TENSORS, TEXTS


def build(
    folder: Path,
    name: str,
    shards: Mapping[str, list[Callable[[], Iterator[tuple[int, dict]]]]],
    tensors: Mapping[str, list[int]],
    label_names: list[str],
) -> None:
    """Run a TFDS builder and lay its files into `folder`."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    features: dict[str, Any] = {
        key: tfds.features.Tensor(
            shape=tuple(shape), dtype=TENSORS[key], encoding=tfds.features.Encoding.BYTES
        )
        for key, shape in tensors.items()
    }
    features |= {key: tfds.features.Text() for key in TEXTS}
    features |= {
        key: tfds.features.Scalar(dtype=np.bool_)
        for key in FLAGS
        if key.removeprefix("has_") in features or key == "has_gyro"
    }
    features["start_seconds"] = tfds.features.Scalar(dtype=np.float32)
    # TFDS knows no class label without classes; -1 means unlabelled in both.
    features["label"] = (
        tfds.features.ClassLabel(names=label_names)
        if label_names
        else tfds.features.Scalar(dtype=np.int64)
    )

    class Windows(tfds.core.ShardBasedBuilder, skip_registration=True):
        """Windows of inertial signals."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Windows of inertial signals; see metadata.json.",
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager):
            return shards

    Windows.name = name
    work = folder / ".build"
    builder = Windows(data_dir=work, file_format="array_record")
    # It announces the temporary folder; progress is reported by the caller.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare()
    for file in Path(builder.data_dir).iterdir():
        os.replace(file, folder / file.name)
    shutil.rmtree(work)
