"""The encoder as one serialised `jax.export` artefact: StableHLO with its weights, any batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import export

from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.trees import Params

PLATFORMS = ("cpu", "cuda", "tpu")


def write_stablehlo(
    path: Path, params: Params, config: EncoderConfig, description: Mapping[str, Any]
) -> dict[str, Any]:
    """An `Artefact`: write `path`; what `config.json` says about it.

    `jax.export.deserialize(bytes).call(imu)` gives the dictionary of outputs, in full float32.

    Raises:
        PrimusError: flatbuffers, which serialises it, is not installed.
    """
    samples = round(description["rate_hz"] * description["window_seconds"])

    def apply(imu: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            outputs = config.build().apply({"params": params}, imu)
        return cast(dict[str, jax.Array], outputs)

    (batch,) = export.symbolic_shape("batch")
    argument = jax.ShapeDtypeStruct((batch, samples, 6), jnp.float32)
    exported = export.export(jax.jit(apply), platforms=PLATFORMS)(argument)
    try:
        path.write_bytes(exported.serialize())
    except ImportError as error:
        raise PrimusError(
            "StableHLO is serialised by a package: pip install 'primus-jax[stablehlo]'."
        ) from error
    return {
        "platforms": list(PLATFORMS),
        "calling_convention": exported.calling_convention_version,
        "input": f"imu float32 [batch, {samples}, 6]",
        "outputs": list(config.heads),
    }
