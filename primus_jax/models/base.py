"""What every inertial encoder is: the protocol of its config, its outputs, and its heads."""

import dataclasses
from typing import Any, ClassVar, Protocol

import flax.linen as nn
import jax
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.models.compute import PLAIN, ComputeConfig
from primus_jax.models.layers import dense, gelu

HEADS = ("ssl", "mmcl")


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


class EncoderConfig(_Dataclass, Protocol):
    """The architecture of one kind of encoder: a hashable dataclass, listed in `ENCODERS`.

    The module that `build` returns maps windows float32 `[batch, time, 6]` (accelerometer x, y, z
    in m/s^2, gyroscope x, y, z in rad/s) to a dictionary with one `[batch, width(name)]` for every
    name of `heads`. The outputs are not of unit length. The module works inside
    `shard_map(check_vma=True)`.

    Attributes:
        kind: the name of this architecture in config files, run folders and export folders.
        multihead: whether the heads "ssl" and "mmcl" stand beside the embedding "emb".
        head_layers: linear layers of a head, 1 or 2.
        head_dim: values of the outputs of the heads; 0: those of the embedding.
        batch_statistics: whether training normalises by statistics of the batch
            (`models/batch_norm.py`).
    """

    kind: ClassVar[str]
    batch_statistics: ClassVar[bool]
    multihead: bool
    head_layers: int
    head_dim: int

    @property
    def embed_dim(self) -> int:
        """Values of the embedding."""
        ...

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the outputs; the first is "emb"."""
        ...

    def width(self, head: str) -> int:
        """Values of one output of `heads`."""
        ...

    def sample_range(self) -> tuple[int, int | None]:
        """Smallest and largest window (samples) that the encoder takes; None: no largest."""
        ...

    def validate(self) -> None:
        """Raise PrimusError for a field with a value that the attributes do not allow."""
        ...

    def build(self, compute: ComputeConfig = PLAIN) -> nn.Module:
        """Return the Flax module; `compute` chooses how it is computed, never what."""
        ...


@dataclasses.dataclass(unsafe_hash=True)
class HeadOptions:
    """The heads that every kind of encoder can carry beside its embedding.

    Attributes:
        multihead: add the linear heads "ssl" and "mmcl".
        head_layers: 1, one linear layer, as released; 2, linear, GELU, linear.
        head_dim: of the outputs of both heads; 0: the width of the embedding, as released.
    """

    batch_statistics: ClassVar[bool] = False

    multihead: bool = True
    head_layers: int = 1
    head_dim: int = 0

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the outputs: "emb", and "ssl" and "mmcl" with `multihead`."""
        return ("emb", *HEADS) if self.multihead else ("emb",)

    def width(self: EncoderConfig, head: str) -> int:
        """Values of one output of `heads`."""
        return self.embed_dim if head == "emb" else self.head_dim or self.embed_dim

    def validate_heads(self) -> None:
        """Raise PrimusError for a field of the heads that means nothing."""
        if self.head_layers not in (1, 2):
            raise PrimusError(f"encoder.head_layers is {self.head_layers!r}; expected 1 or 2.")
        if not isinstance(self.multihead, bool):
            raise PrimusError(f"encoder.multihead is {self.multihead!r}; expected True or False.")
        wide = self.head_dim
        if not isinstance(wide, int) or isinstance(wide, bool) or wide < 0:
            raise PrimusError(
                f"encoder.head_dim is {wide!r}; expected a positive integer, or 0 for the width "
                f"of the embedding."
            )
        if wide and not self.multihead:
            raise PrimusError(
                f"encoder.head_dim is {wide}, but encoder.multihead is False: there is no head. "
                f"Leave it at 0."
            )


def apply_heads(
    config: EncoderConfig, shared: jax.Array, dtype: DTypeLike | None
) -> dict[str, jax.Array]:
    """Return the outputs of the heads of `shared` `[batch, embed_dim]`, by name.

    To be called inside a compact module, which owns the layers.
    """
    outputs: dict[str, jax.Array] = {}
    embed = config.embed_dim
    for head in config.heads[1:]:
        x = shared
        if config.head_layers == 2:
            x = gelu(dense(embed, embed, f"{head}_head0", dtype)(x)).astype(x.dtype)
        outputs[head] = dense(config.width(head), embed, f"{head}_head")(x)
    return outputs


def check_sizes(config: object, *fields: str) -> None:
    """Raise PrimusError unless every field is a positive integer."""
    for field in fields:
        value = getattr(config, field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise PrimusError(f"encoder.{field} is {value!r}; expected a positive integer.")


def check_window(config: EncoderConfig, shape: tuple[int, ...]) -> None:
    """Raise PrimusError unless the encoder can take windows of `shape` `[batch, time, 6]`."""
    config.validate()
    low, high = config.sample_range()
    if len(shape) != 3 or shape[-1] != 6:
        raise PrimusError(f"imu has shape {tuple(shape)}; expected [batch, time, 6].")
    if shape[1] < low or (high is not None and shape[1] > high):
        limits = f"at least {low}" if high is None else f"{low} to {high}"
        raise PrimusError(
            f"windows of {shape[1]} samples; this encoder takes {limits}. "
            f"Use another window length or rate, or another encoder."
        )
