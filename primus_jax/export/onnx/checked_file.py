"""ONNX files of an encoder, each compared with JAX on windows before it is kept."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.export.onnx.encoders import DISTANCE, PAIR, onnx_encoder
from primus_jax.export.onnx.graph import OPSET, import_onnx
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.base import EncoderConfig
from primus_jax.models.motif import MotifConfig
from primus_jax.trees import Params

# Of the largest value of an output.
TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class CheckWindows:
    """What an exported file is compared on.

    Attributes:
        imu: float32 `[n, time, 6]` in m/s^2 and rad/s at the encoder's rate.
        source: where they come from, in words.
    """

    imu: np.ndarray
    source: str


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """An `Artefact`: the encoder as ONNX for any number of windows of one length.

    Attributes:
        windows: to compare with JAX; their length is that of the file.
        int8: weights of eight bits, and only the output that the folder recommends.
    """

    windows: CheckWindows
    int8: bool = False

    def __call__(
        self, path: Path, params: Params, config: EncoderConfig, description: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write `path`; what `config.json` says about it, the measured difference included.

        Raises:
            PrimusError: onnx or onnxruntime is not installed, or the float32 file does not agree
                with JAX within 1e-5 of the largest value.
        """
        imu, outputs = self.windows.imu, config.heads
        inputs = {"imu": imu}
        if isinstance(config, MotifConfig):
            if self.int8:
                raise PrimusError("a distance is not written in eight bits. Leave --int8 out.")
            outputs, inputs = (DISTANCE,), dict(zip(PAIR, (imu, np.roll(imu, 1, 0)), strict=True))
        if self.int8:
            outputs = (description["head"],)
        tensors = to_torch_names(params, config)
        model = onnx_encoder(tensors, config, imu.shape[1], outputs, self.int8)
        path.write_bytes(model.SerializeToString())
        ours, theirs = jax_outputs(params, config, inputs), onnx_outputs(path, inputs)
        about = {
            "opset": OPSET,
            "input": f"{', '.join(inputs)} float32 [batch, {imu.shape[1]}, 6]",
            "outputs": list(outputs),
            "checked_on": f"{len(imu)} windows, {self.windows.source}",
        }
        if self.int8:
            return about | similarity(ours[outputs[0]], theirs[outputs[0]])
        difference = max(
            float(np.abs(ours[name] - theirs[name]).max() / np.abs(ours[name]).max())
            for name in outputs
        )
        if not difference <= TOLERANCE:
            raise PrimusError(
                f"ONNX differs from JAX by {difference:.1e} of the largest value on "
                f"{about['checked_on']}; expected at most {TOLERANCE}. The file is not kept."
            )
        return about | {"largest_relative_difference": difference}


def jax_outputs(
    params: Params, config: EncoderConfig, inputs: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Every output of the network in full float32, by the names of `onnx_encoder`."""

    def apply(params: Params, inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            if isinstance(config, MotifConfig):
                pair = (inputs[name][..., : config.channels] for name in PAIR)
                return {DISTANCE: _distance(params, config, *pair)[:, None]}
            outputs = config.build().apply({"params": params}, inputs["imu"])
        return cast(dict[str, jax.Array], outputs)

    return jax.device_get(jax.jit(apply)(params, inputs))


def _distance(
    params: Params, config: MotifConfig, anchor: jax.Array, candidate: jax.Array
) -> jax.Array:
    module, variables = config.build(), {"params": params}
    memory = module.apply(variables, candidate, method="remember")
    attention = config.attend(training=False)
    measured = module.apply(variables, anchor, memory, attention, method="distance")
    return cast(jax.Array, measured)


def onnx_outputs(path: Path, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every output of an ONNX file by onnxruntime on the CPU."""
    import_onnx()
    try:
        import onnxruntime
    except ImportError as error:
        raise PrimusError(
            "ONNX is checked by a package: pip install 'primus-jax[onnx]'."
        ) from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def similarity(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Mean and lowest cosine between rows, and the mean length of their difference."""
    lengths = [np.linalg.norm(rows, axis=1) for rows in (ours, theirs, ours - theirs)]
    cosine = (ours * theirs).sum(1) / np.maximum(lengths[0] * lengths[1], 1e-12)
    return {
        "cosine_mean": float(cosine.mean()),
        "cosine_lowest": float(cosine.min()),
        "relative_error_mean": float((lengths[2] / np.maximum(lengths[0], 1e-12)).mean()),
    }
