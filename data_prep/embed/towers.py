"""The frozen towers over many rows: fixed batches, jitted, sharded over the devices."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.models.clip.towers import Towers, embed_text, embed_video
from primus_jax.parallel.sharding import AXIS, replicate

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
_EMBED: dict[str, tuple[str, Callable[..., jax.Array]]] = {
    "text": ("text", embed_text),
    "video": ("vision", embed_video),
}
# Batches on their way to the devices while the next one is read.
_AHEAD = 2


class TowerRunner:
    """One frozen tower on a mesh: rows -> float16 embeddings, in their order.

    Every batch has `batch` rows, the last ones padded with zeros that are thrown away, so the
    tower is compiled once. Its parameters are an argument of the compiled function (law 4), and a
    row's embedding does not depend on the other rows.

    Attributes:
        batch: rows of a batch, a multiple of the devices.
    """

    def __init__(self, kind: str, towers: Towers, mesh: Mesh, batch: int, dtype: str) -> None:
        """Put the tower's parameters on every device of `mesh`.

        Args:
            kind: "text" (rows are int32 `[77]`) or "video" (uint8 `[frames, size, size, 3]`).
            towers: as loaded.
            mesh: with the axis "data".
            batch: rows at a time, rounded up to a multiple of the devices.
            dtype: of the arithmetic, a name of `DTYPES`.
        """
        part, embed = _EMBED[kind]

        def rows_to_vectors(params: dict[str, Any], rows: jax.Array) -> jax.Array:
            return embed(params, towers.config, rows, dtype=DTYPES[dtype])

        devices = mesh.size
        self.batch = -(-batch // devices) * devices
        self._what = f"the {kind} tower {towers.name}"
        self._width = getattr(towers.config, part).projection
        self._params = replicate(mesh, {part: towers.params[part]})
        self._rows = NamedSharding(mesh, PartitionSpec(AXIS))
        self._compiled = jax.jit(
            jax.shard_map(
                rows_to_vectors,
                mesh=mesh,
                in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
                out_specs=PartitionSpec(AXIS),
            )
        )

    def __call__(self, rows: Iterable[np.ndarray]) -> np.ndarray:
        """Embed rows, iterated once and only a few batches ahead: float16 `[n, dim]`.

        Raises:
            PrimusError: a value that float16 cannot hold.
        """
        done: list[jax.Array] = []
        count = 0
        for batch, real in self._batches(rows):
            done.append(self._compiled(self._params, jax.device_put(batch, self._rows)))
            count += real
            if len(done) > _AHEAD:
                done[-_AHEAD - 1].block_until_ready()
        if not done:
            return np.empty((0, self._width), np.float16)
        with np.errstate(over="ignore"):
            vectors = np.concatenate([np.asarray(part) for part in done])[:count].astype(np.float16)
        if not np.isfinite(vectors).all():
            raise PrimusError(
                f"{self._what} gives values that float16 cannot hold (or NaN): its weights are "
                f"damaged, or not those of a CLIP model."
            )
        return vectors

    def _batches(self, rows: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
        batch, filled = np.empty(0), 0
        for row in rows:
            if not filled:
                batch = np.zeros((self.batch, *row.shape), row.dtype)
            batch[filled] = row
            filled += 1
            if filled == self.batch:
                yield batch, filled
                filled = 0
        if filled:
            yield batch, filled
