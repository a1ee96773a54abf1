"""The model card of an export folder: what it is, for whom, how good, and where it ends."""

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.models.encoders import encoder_from_dict
from primus_jax.reports.markdown import markdown_table
from primus_jax.reports.rows import ResultRow, Rows
from primus_jax.reports.tables import markdown_tables

USE = """\
```python
from {module} import {name}
encoder = {name}.from_pretrained(".")  # this folder
embeddings = encoder.embed(windows)  # float32 tensor [batch, {samples}, 6] -> [batch, {width}]
```

needs only torch and safetensors. All parameters can be fine-tuned (`encoder.train()`). In JAX:
`primus_jax.load_encoder(folder).encode(signal, rate_hz=..., acc_unit=..., gyro_unit=...)`, which
resamples and converts units."""
USE_DISTANCE = """\
```python
from modeling_relcon import MotifDist
distance = MotifDist.from_pretrained(".")  # this folder
distances = distance.distance(anchors, candidates)  # float32 [batch, {samples}, 6] twice -> [batch]
```

needs only torch and safetensors. In JAX `--config.objective.distance` of configs/relcon.py takes
this folder. The distance is not symmetric, and not zero from a window to itself."""
INTENDED = """\
Features for recognising human activities from one body-worn accelerometer and gyroscope: train a
small classifier on these embeddings with few labels of your own, search long recordings, or
fine-tune. Research use; choose and check the classifier on people it was not trained on."""
LIMITS = """\
- Input in other units, at another rate or without gravity gives embeddings without meaning, and no
  error in PyTorch or ONNX: convert first.
- Trained on the data named below only. Other placements of the sensor, devices and groups of people
  can be much worse; measure before you rely on it.
- Not a medical device, and not for identifying or monitoring people without their consent.
- Embeddings may reveal more about a person than the activity."""
CITATION = """\
```bibtex
@article{primus2024,
  title = {{PRIMUS}: Pretraining {IMU} Encoders with Multimodal Self-Supervision},
  journal = {arXiv:2411.15127}, year = {2024}}
@article{imu2clip2022,
  title = {{IMU2CLIP}: Multimodal Contrastive Learning for {IMU} Motion Sensors from Egocentric
           Videos and Text},
  journal = {arXiv:2210.14395}, year = {2022}}
```"""
CITATION_RELCON = """\
```bibtex
@article{relcon2024,
  title = {{RelCon}: Relative Contrastive Learning for a Motion Foundation Model for Wearable Data},
  journal = {arXiv:2411.18822}, year = {2024}}
```"""
CITATION_IMG2IMU = """\
```bibtex
@article{img2imu2022,
  title = {{IMG2IMU}: Translating Knowledge from Large-Scale Images to {IMU} Sensing Applications},
  journal = {arXiv:2209.00945}, year = {2022}}
```"""
# Module and class in PyTorch, the name of the network, and its paper, of kinds not of PRIMUS.
OTHERS = {
    "resnet1d": ("modeling_relcon", "RelConEncoder", "RelCon inertial encoder", CITATION_RELCON),
    "motif": ("modeling_relcon", "MotifDist", "RelCon motif distance", CITATION_RELCON),
    "vision": ("modeling_vision", "PrimusEncoder", "IMG2IMU inertial encoder", CITATION_IMG2IMU),
}
PRIMUS = ("modeling_primus", "PrimusEncoder", "PRIMUS inertial encoder", CITATION)


def model_card(description: Mapping[str, Any], results: Rows = ()) -> str:
    """The card as Markdown with the header that model hubs read.

    Args:
        description: of `config.json`.
        results: rows of a `results.jsonl` of few-shot or study; (): it was not evaluated.
    """
    samples = round(description["rate_hz"] * description["window_seconds"])
    width = encoder_from_dict(description["encoder"], "config.json").width(description["head"])
    kind = description["encoder"]["kind"]
    module, name, title, citation = OTHERS.get(kind, PRIMUS)
    use = USE_DISTANCE if kind == "motif" else USE
    table = markdown_tables(results).replace("## ", "### ") if results else "Not evaluated.\n"
    return "\n\n".join(
        [
            f"---\nlicense: {json.dumps(description['license'])}\nlibrary_name: pytorch\ntags:\n"
            f"- imu\n- human-activity-recognition\n---",
            f"# {title}",
            f"A {description['encoder']['kind']} encoder of {description['parameters']:,} "
            f"parameters: {description['window_seconds']:g} s of six channels at "
            f"{description['rate_hz']:g} Hz to {width} numbers.",
            "## Use",
            use.format(samples=samples, width=width, module=module, name=name),
            "## Input and output",
            _input(description, samples),
            "## Intended use",
            INTENDED,
            "## Limits",
            LIMITS,
            "## Evaluation",
            table.rstrip(),
            "## Training",
            _training(description),
            *_files(description["files"]),
            "## Licence",
            f"Weights: {description['license']}. `{module}.py`: Apache-2.0. The licences of "
            f"the training data apply to what is made from them.",
            "## Citation",
            citation,
        ]
    ) + "\n"  # fmt: skip


def read_results(path: Path) -> list[ResultRow]:
    """Rows of a `results.jsonl`.

    Raises:
        PrimusError: no such file, or rows that are not those of `primus-jax fewshot` or `study`.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
        markdown_tables(rows)
    except OSError as error:
        raise PrimusError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrimusError(
            f"{path} is not a results.jsonl of `primus-jax fewshot` or `study`: {error!r}."
        ) from error
    return rows


def _input(description: Mapping[str, Any], samples: int) -> str:
    units = description["units"]
    rows = {
        "channels": ", ".join(description["channels"]),
        "units": f"accelerometer {units['acc']}, gyroscope {units['gyro']}",
        "axes": description["axes"],
        "rate and window": f"{description['rate_hz']:g} Hz, {samples} samples",
        "normalisation": description["normalisation"],
        "outputs": ", ".join(description["heads"]),
        "use this one": description["head"],
    }
    return markdown_table(["", ""], list(rows.items()), left=(0, 1))


def _training(description: Mapping[str, Any]) -> str:
    made = description["provenance"]
    lines = []
    for path, data in made.get("data", {}).items():
        splits = data.get("splits", {}).items()
        windows = ", ".join(f"{count:,} {split}" for split, count in splits) or "?"
        kind = " (simulated, not measured)" if data.get("simulated") else ""
        content = data.get("content_hash", "?")
        lines.append(f"- data {PurePath(path).name}{kind}: {windows} windows, content {content}")
    lines += [f"- {key} {made[key]}" for key in ("step", "config_hash", "source") if key in made]
    lines += [f"- {name} {value:.4g}" for name, value in description["metrics"].items()]
    return "\n".join(lines) or "Not recorded."


def _files(files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not files:
        return []
    lines = []
    for name, about in files.items():
        line = f"- `{name}`, {about['bytes'] / 1e6:.2f} MB, input {about['input']}"
        if "opset" in about:
            line += f", opset {about['opset']}, checked with onnxruntime on {about['checked_on']}"
        if "cosine_mean" in about:
            line += (
                f"; eight bits; cosine to the float32 embeddings {about['cosine_mean']:.5f} on "
                f"average, {about['cosine_lowest']:.5f} at worst"
            )
        lines.append(line)
    return ["## Other formats", "\n".join(lines)]
