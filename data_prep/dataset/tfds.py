"""The TFDS builder: examples by shard -> ArrayRecord files, without TensorFlow.

`ShardBasedBuilder` keeps the order and needs one shard in memory; `GeneratorBasedBuilder` keeps a
whole split in memory, and with Beam sends every example through a shuffle.
"""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.splits import SplitDict
from tensorflow_datasets.core.writer import ExampleWriter
from tensorflow_datasets.proto import tf_example_pb2

from data_prep.dataset.beam_options import pipeline_options
from data_prep.dataset.shards import Schema
from primus_jax.data.folder import FLAGS, TENSORS, TEXTS

# Numbers and examples of one shard, from the first.
Examples = Callable[[], Iterator[tuple[int, dict[str, Any]]]]


class OrderedWriter(ExampleWriter):
    """Writes the fields of every example in one order: protobuf's own differs by process."""

    def write(self, path: os.PathLike[str], examples: Iterable[tuple[Any, bytes]]) -> Any:
        """Write serialised examples to a shard."""
        ordered = (
            (key, tf_example_pb2.Example.FromString(data).SerializeToString(deterministic=True))
            for key, data in examples
        )
        return super().write(path, ordered)


def build(
    folder: Path,
    name: str,
    shards: Mapping[str, Sequence[Examples]],
    schema: Schema,
    beam: tuple[str, Sequence[str]] | None = None,
) -> None:
    """Run a TFDS builder and lay its files into `folder`.

    Args:
        folder: an existing one.
        name: of the dataset, a lower-case identifier.
        shards: by split, a function for each shard that yields its examples; picklable for Beam.
        schema: of every example.
        beam: runner and options that write the shards; one after another here if None.
    """
    tfds.disable_progress_bar()
    features: dict[str, Any] = {
        key: tfds.features.Tensor(
            shape=shape, dtype=TENSORS[key], encoding=tfds.features.Encoding.BYTES
        )
        for key, shape in schema.tensors.items()
    }
    features |= {key: tfds.features.Text() for key in TEXTS}
    features |= {
        key: tfds.features.Scalar(dtype=np.bool_)
        for key in FLAGS
        if key.removeprefix("has_") in features or key == "has_gyro"
    }
    features["start_seconds"] = tfds.features.Scalar(dtype=np.float32)
    # TFDS has no class label without classes; -1 means unlabelled in both.
    features["label"] = (
        tfds.features.ClassLabel(names=list(schema.label_names))
        if schema.label_names
        else tfds.features.Scalar(dtype=np.int64)
    )

    # TFDS has no types, so the checker does not know the keyword of its base class.
    class Windows(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Windows of inertial signals."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> tfds.core.DatasetInfo:
            return tfds.core.DatasetInfo(
                builder=self,
                description="Windows of inertial signals; see metadata.json.",
                features=tfds.features.FeaturesDict(features),
                disable_shuffling=True,
            )

        def _example_writer(self) -> ExampleWriter:
            return OrderedWriter(file_format=self.info.file_format)

        def _shard_iterators_per_split(
            self, dl_manager: tfds.download.DownloadManager
        ) -> dict[str, Sequence[Examples]]:
            return {self.split: shards[self.split]}

        def _download_and_prepare(
            self,
            dl_manager: tfds.download.DownloadManager,
            download_config: tfds.download.DownloadConfig | None = None,
        ) -> None:
            # TFDS adds every split to one Beam pipeline and runs it again after each.
            infos = []
            for self.split in shards:
                super()._download_and_prepare(dl_manager, download_config)
                infos.extend(self.info.splits.values())
            self.info.set_splits(SplitDict(infos))

    Windows.name = name
    work = folder / ".build"
    builder = Windows(data_dir=work, file_format="array_record")
    config = tfds.download.DownloadConfig()
    if beam is not None:
        runner, options = beam
        config.beam_runner, config.beam_options = runner, pipeline_options(options)
    # TFDS announces the temporary folder; the caller reports progress.
    with contextlib.redirect_stdout(io.StringIO()):
        builder.download_and_prepare(download_config=config)
    for file in Path(builder.data_dir).iterdir():
        # Beam's workers report to TFDS through a file, which TFDS leaves behind.
        if not file.name.endswith(".shard_infos.json"):
            os.replace(file, folder / file.name)
    shutil.rmtree(work)
