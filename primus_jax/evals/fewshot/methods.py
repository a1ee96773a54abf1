"""The methods of a comparison: encoders by name, and the baselines beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.protocol import SCRATCH
from primus_jax.evals.hand_features import NAME as HAND
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.evals.identity import Method

RANDOM = "random initialisation"
RANDOM_SEEDS = (0, 1, 2)
RESERVED = (RANDOM, HAND, SCRATCH)


def read_methods(
    paths: Mapping[str, Path], rate_hz: float, *, random_init: bool, hand_features: bool
) -> dict[str, list[Method]]:
    """Load encoders and add baselines to them.

    Args:
        paths: name -> export folder or file of weights.
        rate_hz: of hand-crafted statistics where there is no encoder.
        random_init: add the first encoder's architecture, untrained, once per `RANDOM_SEEDS`.
        hand_features: add hand-crafted statistics.

    Raises:
        PrimusError: what `load_encoder` raises.
    """
    encoders = {name: load_encoder(path) for name, path in paths.items()}
    methods: dict[str, list[Method]] = {name: [encoder] for name, encoder in encoders.items()}
    first = next(iter(encoders.values()), None)
    if random_init and first is not None:
        methods[RANDOM] = [
            Encoder.random(first.config, seed, first.rate_hz, first.window_seconds)
            for seed in RANDOM_SEEDS
        ]
    if hand_features:
        methods[HAND] = [HandFeatures(rate_hz if first is None else first.rate_hz)]
    return methods


def named_paths(specifications: Sequence[str]) -> dict[str, Path]:
    """NAME=PATH words -> {name: path}.

    Raises:
        PrimusError: an empty name or path, or a name given twice.
    """
    paths: dict[str, Path] = {}
    for word in specifications:
        name, found, path = word.partition("=")
        name, path = (name, path) if found else (Path(word).stem, word)
        if not name or not path:
            raise PrimusError(f"--encoder {word!r}; expected NAME=PATH, such as primus=export.")
        if name in paths or name in RESERVED:
            raise PrimusError(f"--encoder {word!r}: the name {name!r} is taken; choose another.")
        paths[name] = Path(path)
    return paths
