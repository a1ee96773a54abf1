"""The text of a compiled program, parsed: instructions, and how often each part runs.

The text is XLA's optimised HLO of one device, as `compiled.as_text()` gives it for CPU and TPU.
Loops are multiplied by their trip count; the start and the end of an asynchronous operation are
counted once.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2, "s32": 4, "u32": 4,
    "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
ARRAY = re.compile(r"\b(" + "|".join(BYTES) + r")\[([\d,]*)\](\{[^{}]*\})?")
HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
CALLS = re.compile(r"(?:calls|to_apply|body|branch_computations|called_computations)=")
NAME = re.compile(r"%([\w.\-]+)")


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `name = shape opcode(operands), attributes`."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    literal: str
    attributes: str
    is_root: bool


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations by name, each its instructions by name, in order."""

    entry: str
    computations: dict[str, dict[str, Instruction]]

    def runs(self) -> Iterator[tuple[str, float, bool]]:
        """(computation, how often, whether it is the inside of a fusion) for everything that runs.

        A loop whose trip count is not in the text counts once.
        """
        waiting: list[tuple[str, float, bool]] = [(self.entry, 1, False)]
        while waiting:
            name, times, fused = waiting.pop()
            yield name, times, fused
            for line in self.computations[name].values():
                repeated = times * (trip_count(self, line) or 1)
                for called in _called(line):
                    waiting.append((called, repeated, fused or line.opcode == "fusion"))

    def unknown_loops(self) -> int:
        """How many loops run an unknown number of times."""
        lines = (x for name, _, _ in self.runs() for x in self.computations[name].values())
        return sum(x.opcode == "while" and trip_count(self, x) is None for x in lines)


def parse(text: str) -> Program:
    """The program of a module's text."""
    computations: dict[str, dict[str, Instruction]] = {}
    entry, current = "", {}
    for line in text.splitlines():
        head = HEAD.match(line)
        if head:
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith(" ") and " = " in line:
            instruction = _instruction(line)
            current[instruction.name] = instruction
    return Program(entry, computations)


def size(shape: str, memory: str = "") -> int:
    """Bytes of all arrays in a shape, which may be a tuple.

    With `memory` "device", only of those that live in device memory and not in a TPU's on-chip or
    scalar memory, which the layout marks (`S(1)` and above).
    """
    return sum(
        BYTES[kind] * math.prod(int(n) for n in dims.split(",") if n)
        for kind, dims, layout in ARRAY.findall(shape)
        if not (memory and re.search(r"S\([1-9]", layout))
    )


def trip_count(program: Program, line: Instruction) -> int | None:
    """How often a `while` runs its body: from XLA's note, or from `counter < constant`.

    None if the text has neither, and for an instruction that is not a loop.
    """
    if line.opcode != "while":
        return None
    known = re.search(r'known_trip_count"?:\{"?n"?:"?(\d+)', line.attributes)
    if known:
        return int(known[1])
    condition = re.search(r"condition=%?([\w.\-]+)", line.attributes)
    if condition is None:
        return None
    lines = list(program.computations[condition[1]].values())
    for inner in [name for x in lines for name in _called(x)]:
        lines += program.computations[inner].values()
    compared = [x for x in lines if x.opcode == "compare"]
    limits = [int(x.literal) for x in lines if x.opcode == "constant" and x.literal.isdigit()]
    if len(compared) == len(limits) == 1 and "direction=LT" in compared[0].attributes:
        return limits[0]
    return None


def _called(line: Instruction) -> list[str]:
    """Computations that an instruction runs as a part of itself; reducers run per element."""
    if line.opcode not in ("while", "call", "conditional", "fusion", "async-start"):
        return []
    found = []
    for match in CALLS.finditer(line.attributes):
        rest = line.attributes[match.end() :]
        names = rest[: rest.index("}")] if rest.startswith("{") else rest.split(",")[0]
        found += [name.strip().lstrip("%") for name in names.lstrip("{").split(",")]
    return found


def _instruction(line: str) -> Instruction:
    left, right = line.strip().split(" = ", 1)
    shape, rest = _split(right) if right.startswith("(") else right.split(" ", 1)
    opcode, rest = rest.strip().split("(", 1)
    inside, attributes = _split("(" + rest)
    return Instruction(
        name=left.removeprefix("ROOT ").lstrip("%"),
        shape=shape,
        opcode=opcode,
        operands=tuple(NAME.findall(inside)),
        literal=inside[1:-1],
        attributes=attributes,
        is_root=left.startswith("ROOT "),
    )


def _split(text: str) -> tuple[str, str]:
    """The leading parenthesis, balanced, and what follows it."""
    depth = 0
    for match in re.finditer(r"[()]", text):
        depth += 1 if match[0] == "(" else -1
        if not depth:
            return text[: match.end()], text[match.end() :]
    raise ValueError(f"unbalanced parenthesis in {text[:80]!r}")
