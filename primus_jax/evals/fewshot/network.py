"""An encoder that is trained for classification: its layers, what of it learns, its statistics."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.batch_norm import join, sown, split
from primus_jax.trees import Params, Tree

Path = tuple[str, ...]


class Network(NamedTuple):
    """An encoder of `config` that is trained together with the classifier of its output `head`.

    Attributes:
        config: the architecture.
        head: its output that is classified.
        layers: trained layers, counted from the output; None: all of them. Batch normalisation
            follows the batches where all are trained, and is in evaluation mode otherwise.
    """

    config: EncoderConfig
    head: str
    layers: int | None = None

    @property
    def batch_statistics(self) -> bool:
        """Whether training normalises by the statistics of its batches."""
        return self.config.batch_statistics and self.layers is None


class Parts(NamedTuple):
    """The parameters of an encoder, parted: `trained`, `kept` as they are, and the `running`
    statistics that follow the batches (empty in evaluation mode)."""

    trained: Params
    kept: Params
    running: Params


def layers_of(config: EncoderConfig, head: str, samples: int) -> tuple[tuple[Path, ...], ...]:
    """The layers behind one output, first to last, each as the paths of its parameters.

    A layer is a block, or a convolution or norm outside of blocks: a child of the first module that
    has several. Parameters that the output does not depend on, such as those of other heads, are in
    no layer.

    Args:
        config: the architecture.
        head: the output.
        samples: of a window.
    """
    module = config.build()
    window = jax.ShapeDtypeStruct((1, samples, 6), jnp.float32)
    shapes = jax.eval_shape(module.init, jax.random.key(0), window)["params"]

    def output(params: Params, imu: jax.Array) -> jax.Array:
        return cast(dict[str, jax.Array], module.apply({"params": params}, imu))[head]

    program = jax.make_jaxpr(output)(shapes, window).jaxpr
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    path_of = {
        variable: tuple(str(key.key) for key in path)
        for variable, (path, _) in zip(program.invars, leaves, strict=False)
    }
    needed, steps = set(program.outvars), []
    for equation in reversed(program.eqns):
        if not needed.isdisjoint(equation.outvars):
            # a literal has a value, a variable has none
            inputs = [one for one in equation.invars if not hasattr(one, "val")]
            needed.update(inputs)
            steps.append(inputs)
    used = [path_of[one] for inputs in reversed(steps) for one in inputs if one in path_of]
    return _grouped(list(dict.fromkeys(used)))


def _grouped(paths: list[Path]) -> tuple[tuple[Path, ...], ...]:
    """Paths by the child of the first module with several children, in the order of first use."""
    depth = 1
    while len({path[:depth] for path in paths}) == 1 and all(len(path) > depth for path in paths):
        depth += 1
    groups: dict[Path, list[Path]] = {}
    for path in paths:
        groups.setdefault(path[:depth], []).append(path)
    return tuple(tuple(group) for group in groups.values())


def check_layers(config: EncoderConfig, head: str, samples: int, layers: int | None) -> None:
    """Raise PrimusError unless the encoder has so many layers."""
    if layers is None:
        return
    found = layers_of(config, head, samples)
    if not 1 <= layers <= len(found):
        raise PrimusError(
            f"{layers} layers to train; this {config.kind} encoder has {len(found)} behind its "
            f"output {head!r}. Give 1 to {len(found)}, all, or 0 to keep the encoder as it is."
        )


def part(params: Params, network: Network, samples: int) -> Parts:
    """Part the parameters of an encoder as `network` trains them."""
    layers = layers_of(network.config, network.head, samples)
    chosen = {path for layer in layers[-(network.layers or len(layers)) :] for path in layer}
    learnt, statistics = (flatten_dict(tree) for tree in split(params))
    trained = {path: leaf for path, leaf in learnt.items() if path in chosen}
    kept = {path: leaf for path, leaf in learnt.items() if path not in chosen}
    running = statistics if network.batch_statistics else {}
    kept |= {} if network.batch_statistics else statistics
    return Parts(*(unflatten_dict(tree) for tree in (trained, kept, running)))


def whole(parts: Parts) -> dict[str, Any]:
    """The parameters again, as one tree; only the trained ones take a gradient."""
    return join(join(parts.trained, parts.kept), parts.running)


def encode(
    network: Network, parts: Parts, imu: jax.Array, *, training: bool
) -> tuple[jax.Array, Tree]:
    """Windows `[batch, time, 6]` -> the output `[batch, width]`, and the statistics that follow."""
    params, module = whole(parts), network.config.build()
    if training and network.batch_statistics:
        outputs, collections = module.apply({"params": params}, imu, True, mutable=["running"])
        return cast(Any, outputs)[network.head], sown(collections["running"])
    outputs = module.apply({"params": params}, imu)
    return cast(Any, outputs)[network.head], parts.running
