"""Expected time of a step on a chip: its largest roofline, plus communication without overlap."""

import dataclasses
from collections import Counter

from primus_jax.errors import PrimusError
from primus_jax.roofline.chips import Chip
from primus_jax.roofline.traffic import Collective


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of one step; each is the bound from below of one resource alone.

    Attributes:
        compute: products of matrices, at the peak of their number format.
        memory: device memory traffic, at its bandwidth.
        shifts: transfers from neighbour to neighbour while the ring computes.
        collectives: all other communication.
    """

    compute: float
    memory: float
    shifts: float
    collectives: float

    @property
    def work(self) -> float:
        """Seconds without any communication."""
        return max(self.compute, self.memory)

    @property
    def expected(self) -> float:
        """Seconds where shifts overlap with the work, and collectives do not."""
        return max(self.work, self.shifts) + self.collectives

    @property
    def best(self) -> float:
        """Seconds where all communication overlaps with the work."""
        return max(self.work, self.shifts + self.collectives)

    @property
    def worst(self) -> float:
        """Seconds where no communication overlaps with the work."""
        return self.work + self.shifts + self.collectives

    @property
    def exposed(self) -> float:
        """Seconds of the expected step in which devices wait for communication."""
        return self.expected - self.work

    @property
    def scaling(self) -> float:
        """Share of the expected step that remains without any communication."""
        return self.work / self.expected if self.expected else 1.0

    @property
    def of_peak(self) -> float:
        """Share of the expected step in which the matrix units work."""
        return self.compute / self.expected if self.expected else 0.0


def estimate(
    chip: Chip,
    products: Counter[tuple[str, str]],
    moved: float,
    sent: list[Collective],
    domain: int,
) -> Estimate:
    """The rooflines of one device's step.

    Args:
        chip: its published numbers.
        products: operations by (dtype, precision), `flops.count_products`.
        moved: bytes of device memory, `traffic.memory_traffic`.
        sent: `traffic.collectives`.
        domain: devices, numbered consecutively, that the fast interconnect joins.

    Raises:
        PrimusError: something crosses domains and no network of the chip is published.
    """
    shifts = collectives = 0.0
    places: dict[str, float] = {}
    for one in sent:
        if one.kind == "collective-permute":
            shifts += one.sent / _bandwidth(chip, one, domain)
            places[one.place] = one.times
        else:
            collectives += one.sent / _bandwidth(chip, one, domain) + one.times * chip.latency
    return Estimate(
        compute=sum(work / chip.rate(*kind) for kind, work in products.items()),
        memory=moved / chip.bandwidth,
        shifts=shifts + chip.latency * sum(places.values()),
        collectives=collectives,
    )


def _bandwidth(chip: Chip, one: Collective, domain: int) -> float:
    """Bytes per second that a device sends in this collective.

    A shift takes one link, or across domains the sender's own share of the network. Any other
    collective takes all links. Across domains it takes at most the network of all of its devices in
    one domain together.
    """
    shift = one.kind == "collective-permute"
    inside = chip.link * (1 if shift else chip.links)
    if not one.crosses(domain):
        return inside
    if not chip.network:
        raise PrimusError(
            f"no published number for the network between slices of {chip.name}; choose another "
            f"chip, or a mesh of one slice."
        )
    first = one.groups[0]
    beside = sum(number // domain == first[0] // domain for number in first)
    return min(inside, chip.network * (1 if shift else beside))
