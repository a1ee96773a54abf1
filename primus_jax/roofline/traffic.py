"""Bytes that a compiled program sends between devices, and moves in device memory."""

import dataclasses
import math
import re
from collections import Counter

import numpy as np

from primus_jax.roofline.hlo import ARRAY, Instruction, Program, parse, size

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
)
# They name or regroup values, or only run other lines; their parts are counted where they run.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call",
    "conditional", "after-all", "partition-id", "replica-id", "async-start", "async-done",
    "async-update", "optimization-barrier",
}  # fmt: skip
SLICES = ("dynamic-slice", "slice", "gather")
UPDATES = ("dynamic-update-slice", "scatter")
CALLED = re.compile(r"calls=%?([\w.\-]+)")
# Of a fusion's operand that comes out as it went in.
PASSED = (0, False)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of one device and step.

    Attributes:
        kind: one of `COLLECTIVES`.
        operand: bytes that go in, each time.
        groups: numbers of the devices that take part together; of a shift (source, target).
        times: how often it runs in a step.
        place: the computation that holds it; the shifts of one place travel at the same time.
    """

    kind: str
    operand: int
    groups: tuple[tuple[int, ...], ...]
    times: float
    place: str

    @property
    def sent(self) -> float:
        """Bytes that one device sends in a step, by the bandwidth-optimal algorithm.

        With n devices and s bytes in: all-gather (n - 1) s, reduce-scatter and all-to-all
        (n - 1) / n s, all-reduce 2 (n - 1) / n s, collective-permute s.
        """
        n = len(self.groups[0])
        share = {
            "all-gather": n - 1,
            "all-reduce": 2 * (n - 1) / n,
            "reduce-scatter": (n - 1) / n,
            "all-to-all": (n - 1) / n,
            "collective-permute": 1,
        }
        return share[self.kind] * self.operand * self.times

    def crosses(self, domain: int) -> bool:
        """Whether devices of different domains, `domain` consecutive numbers each, talk."""
        return any(len({number // domain for number in group}) > 1 for group in self.groups)


def collectives(program: Program) -> list[Collective]:
    """Every collective that runs, with the loops around it multiplied out.

    A TPU overlaps one collective with several fusions, each of which names it: it is counted
    where it starts. Its fused reduce-scatter is an all-reduce with a slice behind it.
    """
    found = []
    for name, times, fused in program.runs():
        lines = program.computations[name]
        if fused and _goes_on(name, lines):
            continue
        for line in lines.values():
            kind = line.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            if fused and name.startswith("all-reduce-scatter"):
                kind = "reduce-scatter"
            operand = sum(size(lines[x].shape) for x in line.operands if x in lines)
            groups = _groups(line)
            if max(map(len, groups), default=0) > 1:
                found.append(Collective(kind, operand, groups, times, name))
    return found


def bytes_sent(text: str) -> Counter[str]:
    """Bytes that one device sends in a run of a compiled program, by kind of collective."""
    sent: Counter[str] = Counter()
    for one in collectives(parse(text)):
        sent[one.kind] += one.sent  # type: ignore[assignment]  # a Counter of floats
    return sent


def memory_traffic(program: Program) -> float:
    """Bytes read from and written to device memory in a step, an estimate from above.

    Every line that is not inside a fusion reads its operands and writes its result; what is sliced
    or updated in place counts with the slice or the update. Caches are not modelled.
    """
    total = 0.0
    for name, times, fused in program.runs():
        if fused:
            continue
        lines = program.computations[name]
        total += times * sum(_moved(program, lines, line) for line in lines.values())
    return total


def _goes_on(name: str, lines: dict[str, Instruction]) -> bool:
    """Whether a TPU's fusion only accompanies or ends a collective that started in another."""
    targets = " ".join(line.attributes for line in lines.values() if line.opcode == "custom-call")
    accompanies = name.startswith("async_collective_fusion") or "AsyncCollectiveDone" in targets
    return accompanies and "AsyncCollectiveStart" not in targets


def _moved(program: Program, lines: dict[str, Instruction], line: Instruction) -> float:
    if line.opcode in FREE or line.opcode.endswith("-done"):
        return 0
    operands = [lines[x] for x in line.operands if x in lines]
    if line.opcode == "slice-start":
        # ((whole), part, ...)
        sliced = _match(ARRAY, line.shape[line.shape.index(")") :])[0]
        return size(sliced) + size(sliced, "device")
    if line.opcode.endswith("-start"):
        return size(line.shape, "device")
    if line.opcode in SLICES:
        return 2 * size(line.shape, "device")
    if line.opcode in UPDATES:
        return 2 * size(operands[-1].shape, "device")
    written = size(line.shape, "device")
    called = CALLED.search(line.attributes)
    if line.opcode != "fusion" or called is None:
        return written + sum(size(x.shape, "device") for x in operands)
    body = program.computations[called[1]]
    read = 0
    if _goes_on(called[1], body):
        written -= sum(size(x.shape, "device") for x in body.values() if x.opcode in COLLECTIVES)
    for number, operand in enumerate(operands):
        whole = size(operand.shape, "device")
        part = _part_used(program, body, number)
        if part == PASSED:
            written -= whole
        elif part is None:
            read += whole
        else:
            read += min(whole, part[0])
            written -= max(0, min(whole, written) - part[0]) if part[1] else 0
    return max(written, 0) + read


def _part_used(
    program: Program, body: dict[str, Instruction], number: int
) -> tuple[int, bool] | None:
    """(bytes, updated in place) of a fusion's operand that is only sliced or updated, else None.

    `PASSED` of one that only stands in the fusion's result.
    """
    parameter = next(
        (x for x in body.values() if x.opcode == "parameter" and x.literal == str(number)), None
    )
    if parameter is None:
        return None
    names, used, updated = [parameter.name], 0, False
    while names:
        name = names.pop()
        for user in (x for x in body.values() if name in x.operands):
            if user.opcode == "bitcast":
                names.append(user.name)
            elif user.opcode == "tuple" and user.is_root:
                continue
            elif user.opcode in SLICES and user.operands[0] == name:
                used += size(user.shape)
            elif user.opcode in UPDATES and user.operands[0] == name:
                place = -1 if user.opcode == "scatter" else 1
                used += size(body[user.operands[place]].shape)
                updated = True
            elif user.opcode == "fusion" and user.operands.count(name) == 1:
                inner = program.computations[_match(CALLED, user.attributes)[1]]
                part = _part_used(program, inner, user.operands.index(name))
                if part is None or part == PASSED:
                    return None
                used, updated = used + part[0], updated or part[1]
            else:
                return None
    return used, updated


def _groups(line: Instruction) -> tuple[tuple[int, ...], ...]:
    """Devices that take part together, in any of the four ways in which XLA writes them.

    Raises:
        ValueError: a fifth way, which would count as nothing sent.
    """
    iota = re.search(
        r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line.attributes
    )
    if iota:
        return _iota(*iota.groups())
    mesh = re.search(
        r"replica_groups=mesh\[([^\]]*)\]"
        r"(?:, device_ids=\(\[([\d,]+)\](?:T\(([\d,]+)\))?\))? \{([^}]*)\}",
        line.attributes,
    )
    if mesh:
        return _along(*mesh.groups())
    listed = re.search(r"(?:source_target_pairs|replica_groups)=\{(\{.*?\})\}", line.attributes)
    if listed is None:
        if re.search(r"replica_groups=(?!\{\})", line.attributes):
            raise ValueError(f"groups of devices in an unknown form: {line.attributes[:200]}")
        return ()
    groups = re.findall(r"\{([\d,]+)\}", listed[1])
    return tuple(tuple(int(number) for number in group.split(",")) for group in groups)


def _along(
    axes: str, dims: str | None, order: str | None, together: str
) -> tuple[tuple[int, ...], ...]:
    """`mesh['replica'=2,'data'=4] {'data'}`: all places along the named axes.

    With `device_ids=([2,4]T(1,0))` before the names, the places are numbered like that.
    """
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", axes)}
    named = re.findall(r"'([^']+)'", together)
    if together != ",".join(f"'{name}'" for name in named) or not sizes.keys() >= set(named):
        raise ValueError(f"groups of devices in an unknown form: mesh[{axes}] {{{together}}}")
    total = math.prod(sizes.values())
    numbers = np.ravel(_iota(f"1,{total}", dims or str(total), order))
    numbers = numbers.reshape(list(sizes.values()))
    outer = [name for name in sizes if name not in named]
    numbers = numbers.transpose([list(sizes).index(name) for name in (*outer, *named)])
    length = math.prod(sizes[name] for name in named)
    return tuple(tuple(int(n) for n in group) for group in numbers.reshape(-1, length))


def _iota(shape: str, dims: str, order: str | None) -> tuple[tuple[int, ...], ...]:
    """`[groups,size]<=[dims]T(order)`: numbers in order, reshaped, transposed, reshaped again."""
    numbers = np.arange(math.prod(_numbers(dims))).reshape(_numbers(dims))
    numbers = numbers.transpose(_numbers(order)) if order else numbers
    return tuple(tuple(int(n) for n in group) for group in numbers.reshape(_numbers(shape)))


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    """The first match, of a text that XLA always writes so."""
    found = pattern.search(text)
    if found is None:
        raise ValueError(f"no {pattern.pattern} in {text[:80]!r}")
    return found


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]
