"""Blocks of residents meet blocks of visitors that travel a ring of devices.

Every device holds residents, which stay, and visitors, which leave for the next device at once,
meet the residents of every device and come home. The next visitors arrive while a device computes
with the present ones.
"""

import functools
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.losses.pairs import AxisName, Tree

Given = TypeVar("Given")
State = TypeVar("State")
VisitorGiven = TypeVar("VisitorGiven")
VisitorState = TypeVar("VisitorState")


class Party(NamedTuple, Generic[Given, State]):
    """Rows that meet others; leaves `[blocks, block, ...]`, or `[block, ...]` of one block.

    given: arrays that a meeting reads.
    state: sums to which a meeting adds.
    """

    given: Given
    state: State


class Marks(NamedTuple):
    """Marks of the pairs of a block, bool `[n, m]`.

    own: the two rows belong together.
    real: neither row is padding.
    """

    own: jax.Array
    real: jax.Array


# (marks, block of residents, block of visitors) -> the new state of either.
Meeting = Callable[
    [Marks, Party[Given, State], Party[VisitorGiven, VisitorState]],
    tuple[State, VisitorState],
]


def travel(
    meeting: Meeting[Given, State, VisitorGiven, VisitorState],
    residents: Party[Given, State],
    visitors: Party[VisitorGiven, VisitorState],
    count: int,
    axis_name: AxisName,
) -> tuple[State, VisitorState]:
    """The states after every block of residents has met every block of all devices' visitors.

    The visitors come home for the last visit, after N - 1 hops, the fewest possible. Their state
    follows them once a device has added to it. Pairs belong together only at the last visit, where
    residents and visitors are of one device.

    Args:
        meeting: adds one block of pairs to the states.
        residents, visitors: this device's, in blocks.
        count: rows of this device on either side; the rest of the last block is padding.
        axis_name: mesh axis or axes of the ring, or None for one device.
    """
    visit = functools.partial(_visit, meeting, count)
    size = 1 if axis_name is None else lax.axis_size(axis_name)
    if size == 1:
        return visit(residents, visitors, home=True)
    ring = [(i, (i + 1) % size) for i in range(size)]

    def send(tree: Tree) -> Tree:
        """The tree of the device before."""
        return jax.tree.map(lambda x: lax.ppermute(x, axis_name, ring), tree)

    def hop(
        carry: tuple[State, Party[VisitorGiven, VisitorState]], _: None
    ) -> tuple[tuple[State, Party[VisitorGiven, VisitorState]], None]:
        state, present = carry
        coming = send(present.given)  # nothing waits for it until the next hop
        state, served = visit(Party(residents.given, state), present, home=False)
        return (state, Party(coming, send(served))), None

    first = Party(send(visitors.given), visitors.state)
    (state, last), _ = lax.scan(hop, (residents.state, first), None, length=size - 2)
    state, served = visit(Party(residents.given, state), last, home=False)
    returned = Party(visitors.given, send(served))
    return visit(Party(residents.given, state), returned, home=True)


def _visit(
    meeting: Meeting[Given, State, VisitorGiven, VisitorState],
    count: int,
    residents: Party[Given, State],
    visitors: Party[VisitorGiven, VisitorState],
    *,
    home: bool,
) -> tuple[State, VisitorState]:
    """The states after every block of residents has met every block of the visitors present.

    `home` is True where both sides are of one device, so that rows of one place belong together.
    """
    shape = jax.tree.leaves(residents.state)[0].shape[:2]
    places = jnp.arange(shape[0] * shape[1], dtype=jnp.int32).reshape(shape)

    def meet_residents(
        state: State, block: tuple[jax.Array, Party[VisitorGiven, VisitorState]]
    ) -> tuple[State, VisitorState]:
        """One block of visitors meets all residents."""
        j, visitor = block

        def meet_resident(
            visitor_state: VisitorState, block: tuple[jax.Array, Party[Given, State]]
        ) -> tuple[VisitorState, State]:
            i, resident = block
            marks = Marks(
                own=(i[:, None] == j) & home,
                real=(i < count)[:, None] & (j < count),
            )
            new, visitor_state = meeting(marks, resident, Party(visitor.given, visitor_state))
            return visitor_state, new

        visitor_state, state = lax.scan(
            meet_resident, visitor.state, (places, Party(residents.given, state))
        )
        return state, visitor_state

    return lax.scan(meet_residents, residents.state, (places, visitors))
