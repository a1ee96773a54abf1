"""Published numbers of accelerators that a roofline needs, with their sources."""

import dataclasses

from primus_jax.errors import PrimusError

GB = 10**9
GIB = 2**30
TERA = 10**12
# Passes of the bfloat16 matrix unit that a float32 product takes on a TPU (jax.lax.Precision).
TPU_PASSES = {"DEFAULT": 1, "HIGH": 3, "HIGHEST": 6}


@dataclasses.dataclass(frozen=True)
class Chip:
    """One accelerator; every rate is per second and for one chip.

    Attributes:
        kind: "tpu" or "gpu".
        bf16: floating-point operations, dense, bfloat16.
        tensorfloat: the same for float32 inputs at default precision of a GPU; 0 on a TPU, which
            takes one pass of bfloat16.
        float32: at full precision outside the matrix units of a GPU; 0 on a TPU, which takes six
            passes.
        memory: bytes of device memory.
        bandwidth: bytes of device memory read or written.
        link: bytes one way over one link to a neighbour (TPU), or into the NVLink switch (GPU).
        links: links of a chip; a collective over a whole slice uses all of them, a shift by one
            place uses one.
        domain: chips that `link` joins; 0: all chips of a slice.
        network: bytes one way over the data-centre network, per chip.
        latency: seconds before the first byte of a collective. Assumed, not published.
        source: of the published numbers.
    """

    name: str
    kind: str
    bf16: float
    tensorfloat: float
    float32: float
    memory: float
    bandwidth: float
    link: float
    links: int
    domain: int
    network: float
    latency: float
    source: str

    def rate(self, dtype: str, precision: str) -> float:
        """Floating-point operations per second of products with inputs of `dtype`.

        `precision` is a name of `jax.lax.Precision`; it changes nothing for bfloat16.
        """
        if dtype in ("bfloat16", "float16"):
            return self.bf16
        if self.kind == "tpu":
            return self.bf16 / TPU_PASSES[precision]
        return self.float32 if precision == "HIGHEST" else self.tensorfloat


def _tpu(
    name: str,
    tera: float,
    memory: float,
    bandwidth: float,
    link: float,
    links: int,
    network: float,
    source: str,
) -> Chip:
    """A TPU of `tera` bfloat16 operations; rates are in GB/s, `memory` is in bytes."""
    return Chip(
        name, "tpu", tera * TERA, 0, 0, memory, bandwidth * GB, link * GB, links, 0,
        network * GB, 1e-6, source,
    )  # fmt: skip


def _gpu(
    name: str,
    tera: tuple[float, float, float],
    memory: float,
    bandwidth: float,
    link: float,
    network: float,
    source: str,
) -> Chip:
    """A GPU of `tera` (bfloat16, tensorfloat, float32) operations; rates are in GB/s."""
    bf16, tensorfloat, float32 = (value * TERA for value in tera)
    return Chip(
        name, "gpu", bf16, tensorfloat, float32, memory, bandwidth * GB, link * GB, 1, 8,
        network * GB, 1e-5, source,
    )  # fmt: skip


_DOCS = "Google Cloud documentation, 'TPU {}', key specifications"
_HOPPER = "connections: NVIDIA DGX {} user guide (8 x 400 Gb/s)"
CHIPS = {
    chip.name: chip
    for chip in (
        _tpu(
            "v4", 275, 32 * GIB, 1228, 50, 6, 0,
            _DOCS.format("v4") + "; links: Jouppi et al., 'TPU v4', ISCA 2023, 6 x 50 GB/s",
        ),
        _tpu(
            "v5e", 197, 16 * GIB, 819, 50, 4, 3.125,
            _DOCS.format("v5e") + ": 400 GB/s both ways over 4 ports; 2 x 100 Gb/s per 8 chips",
        ),
        _tpu(
            "v5p", 459, 95 * GIB, 2765, 100, 6, 6.25,
            _DOCS.format("v5p") + ": 1200 GB/s both ways over 6 ports; 50 Gb/s per chip",
        ),
        _tpu(
            "v6e", 918, 32 * GIB, 1638, 100, 4, 12.5,
            _DOCS.format("v6e") + ": 800 GB/s both ways over 4 ports; 25.6 Tb/s per 256 chips",
        ),
        _gpu(
            "a100", (312, 156, 19.5), 80 * GB, 2039, 300, 25,
            "NVIDIA A100 80GB SXM data sheet; connections: NVIDIA DGX A100 data sheet "
            "(8 x 200 Gb/s)",
        ),
        _gpu(
            "h100", (989, 494, 67), 80 * GB, 3350, 450, 50,
            "NVIDIA H100 SXM data sheet, without sparsity; " + _HOPPER.format("H100"),
        ),
        _gpu(
            "h200", (989, 494, 67), 141 * GB, 4800, 450, 50,
            "NVIDIA H200 SXM data sheet, without sparsity; " + _HOPPER.format("H200"),
        ),
    )
}  # fmt: skip


def find_chip(name: str) -> Chip:
    """The chip of that name.

    Raises:
        PrimusError: an unknown name.
    """
    if name not in CHIPS:
        raise PrimusError(f"chip {name!r} is unknown; expected one of {', '.join(CHIPS)}.")
    return CHIPS[name]
