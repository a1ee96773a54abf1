"""The train step of a config, compiled for devices that need not exist, and what it costs there."""

import dataclasses
import time
from collections import Counter
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding

from primus_jax.config import Config
from primus_jax.errors import PrimusError
from primus_jax.hub.folder import read_folder
from primus_jax.parallel import sharding
from primus_jax.roofline.flops import count_products
from primus_jax.roofline.hlo import parse
from primus_jax.roofline.traffic import Collective, collectives, memory_traffic
from primus_jax.training.setup import set_up
from primus_jax.trees import Tree


@dataclasses.dataclass(frozen=True)
class CompiledStep:
    """The work of one device in one step of training; bytes, and operations.

    Attributes:
        devices: of the mesh.
        parameters: values of the model, on all devices together.
        memory: bytes of "arguments", "outputs", "reused" (outputs in the place of arguments),
            "temporaries", "code" and their "total", as XLA planned them for this device.
        products: operations by (input dtype, precision), every loop in full.
        xla_operations: XLA's own count, loops once and elementwise work included.
        sent: every collective.
        moved: bytes of device memory, an estimate from above.
        unknown_loops: loops whose trip count is not known; they count once.
        compile_seconds: tracing, lowering and compiling.
        text: the optimised program.
    """

    devices: int
    parameters: int
    memory: dict[str, int]
    products: Counter[tuple[str, str]]
    xla_operations: float
    sent: list[Collective]
    moved: float
    unknown_loops: int
    compile_seconds: float
    text: str


def compile_step(config: Config, mesh: Mesh, window_samples: int) -> CompiledStep:
    """Compile one update of `config`, on shapes alone; nothing is allocated or run.

    Args:
        config: of a run on stored embeddings. Of frozen networks of the objective, the folders
            give the shapes; where there is no folder yet, the usual architecture does.
        mesh: over the devices of this job, or of a topology (`jax.experimental.topologies`).
        window_samples: of the datasets.

    Raises:
        PrimusError: an invalid config, a batch that the devices cannot share, or a step that does
            not fit into the memory of the device.
    """
    config.validate()
    if config.data.towers:
        raise PrimusError(
            f"config.data.towers is {config.data.towers!r}; the step is compiled on stored "
            f"embeddings. Set --config.data.towers=''."
        )
    sharding.check_batch(mesh, config.data.batch_size)
    start = time.monotonic()
    setup = set_up(config, mesh, window_samples)
    state = setup.abstract
    split = NamedSharding(mesh, sharding.rows(mesh))
    stop = jax.ShapeDtypeStruct((mesh.size,), bool, sharding=split)
    # The jitted step is typed as a plain function.
    train_step = cast(jax.stages.Wrapped, setup.train_step)
    frozen = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding.replicated(mesh)),
        {name: _frozen(config, name, window_samples) for name in config.objective.frozen},
    )
    traced = train_step.trace(state, frozen, setup.abstract_batch(), stop)
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        first = " ".join(line for line in str(error).splitlines() if line.strip())[:600]
        raise PrimusError(
            f"the step does not fit into the memory of a device. Use a smaller batch, "
            f"--config.compute.micro_batches, --config.compute.remat=True, or "
            f"--config.mesh.fsdp=True. The compiler reports: {first}"
        ) from None
    seconds = time.monotonic() - start
    text = compiled.as_text()
    program = parse(text)
    return CompiledStep(
        devices=mesh.size,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        memory=_memory(compiled.memory_analysis()),
        products=count_products(traced.jaxpr, mesh.size),
        xla_operations=float((compiled.cost_analysis() or {}).get("flops", 0)),
        sent=collectives(program),
        moved=memory_traffic(program),
        unknown_loops=program.unknown_loops(),
        compile_seconds=seconds,
        text=text,
    )


def _frozen(config: Config, name: str, window_samples: int) -> Tree:
    """Parameters, or their shapes, of a frozen network of the objective."""
    folder = config.objective.frozen[name]
    if Path(folder).exists():
        return read_folder(folder)[0]
    module = config.objective.frozen_configs[name].build()
    window = jax.ShapeDtypeStruct((1, window_samples, 6), jnp.float32)
    return jax.eval_shape(module.init, jax.random.key(0), window)["params"]


def _memory(stats: Any) -> dict[str, int]:
    sizes = {
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes,
        "reused": stats.alias_size_in_bytes,
        "temporaries": stats.temp_size_in_bytes,
        "code": stats.generated_code_size_in_bytes,
    }
    return {**sizes, "total": sum(sizes.values()) - 2 * sizes["reused"]}
