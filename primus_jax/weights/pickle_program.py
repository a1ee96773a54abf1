"""Reads the pickle of a PyTorch file as plain data: nothing is imported, made or called.

A pickle is a program for a stack machine. This one carries it out on dictionaries, lists, tuples,
numbers and strings only. A class that the program names is never looked up: an object of it
becomes an `Opaque`, its state is dropped. A function that the program wants to call is refused,
unless it is one of the few that plain data need, which have a harmless equivalent here.
"""

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

# Bytes: 5,000 tensors. Every byte of a hostile pickle can cost a hundred in memory.
LARGEST_PROGRAM = 1 << 20
# Called by pickles of hyper-parameters, versions and metrics; all of them only make a value.
HARMLESS = frozenset(
    {
        *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in (
            "set", "frozenset", "slice", "range", "complex", "bytearray")),
        "argparse.Namespace", "collections.Counter", "collections.defaultdict",
        "collections.deque", "copy_reg._reconstructor", "copyreg._reconstructor",
        "datetime.date", "datetime.datetime", "datetime.timedelta", "_codecs.encode",
        "decimal.Decimal", "fractions.Fraction", "uuid.UUID",
        "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype",
        "numpy.random._pickle.__bit_generator_ctor", "numpy.random._pickle.__generator_ctor",
        "numpy.random._pickle.__randomstate_ctor",
        "numpy.random.bit_generator.__pyx_unpickle_SeedSequence",
        "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
        "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
        "torch.Size", "torch.device", "torch.serialization._get_layout",
        "torch._utils._rebuild_meta_tensor_no_storage", "torch._utils._rebuild_nested_tensor",
        "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor",
    }
)  # fmt: skip
VALUES = frozenset(
    {
        "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE",
        "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
        "BINSTRING", "SHORT_BINSTRING",
    }
)  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedCall(ValueError):
    """A pickle that would call a function of which only its name is known."""


class Global(NamedTuple):
    """A class or function by name, `module.name`."""

    name: str


class Opaque(NamedTuple):
    """Stands for an object of a class that is not known here."""

    name: str


class PickleMachine:
    """Carries out one pickle.

    Args:
        functions: what stands in for a named function: called with its positional arguments.
        load_reference: what stands for a persistent id.
    """

    def __init__(
        self, functions: dict[str, Callable[..., Any]], load_reference: Callable[[Any], Any]
    ):
        self.functions = functions
        self.load_reference = load_reference
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """The value that the pickle describes.

        Raises:
            RefusedCall: a call of a function that is not harmless.
            ValueError: a damaged program, or an instruction that no pickle of plain data has.
            IndexError: a damaged program.
        """
        for opcode, argument, position in pickletools.genops(program):
            if opcode.name == "STOP":
                return self.stack.pop()
            if not self.step(opcode.name, argument):
                raise ValueError(f"instruction {opcode.name} at byte {position} of data.pkl")
        raise ValueError("a pickle without an end")

    def step(self, name: str, argument: Any) -> bool:
        """One instruction; False if there is no such one here."""
        stack = self.stack
        if name in VALUES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in TUPLES:
            stack.append(tuple(self.pop(TUPLES[name])))
        elif name in ("TUPLE", "LIST", "FROZENSET"):
            items = self.pop_mark()
            stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"):
            stack.append({"EMPTY_TUPLE": (), "EMPTY_DICT": {}}.get(name, []))
        elif name in ("APPEND", "APPENDS", "ADDITEMS"):
            self.extend(self.pop(1) if name == "APPEND" else self.pop_mark())
        elif name in ("SETITEM", "SETITEMS"):
            self.set_items(self.pop(2) if name == "SETITEM" else self.pop_mark())
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            if argument not in self.memo:
                raise ValueError(f"nothing was stored under {argument}")
            stack.append(self.memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = argument.split(" ", 1) if name == "GLOBAL" else self.pop(2)
            stack.append(Global(".".join(words)))
        elif name in ("NEWOBJ", "NEWOBJ_EX"):
            made = self.pop(2 if name == "NEWOBJ" else 3)[0]
            stack.append(Opaque(made.name if isinstance(made, Global) else "?"))
        elif name == "REDUCE":
            stack.append(self.call(*self.pop(2)))
        elif name == "BUILD":
            self.pop(1)
        elif name == "BINPERSID":
            stack.append(self.load_reference(stack.pop()))
        else:
            return name in ("PROTO", "FRAME")
        return True

    def pop(self, count: int) -> list[Any]:
        """The last `count` values, removed."""
        if len(self.stack) < count:
            raise IndexError("the stack is empty")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def pop_mark(self) -> list[Any]:
        """Everything since the last mark, removed."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def extend(self, items: list[Any]) -> None:
        """Add to the list on top; whatever else is there has no contents of interest."""
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Keys and values in turn into the dictionary on top; only plain keys are kept."""
        if len(items) % 2:
            raise ValueError("a key without a value")
        target = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            if isinstance(target, dict) and isinstance(key, str | int):
                target[key] = value

    def call(self, function: Any, arguments: Any) -> Any:
        """What a call gives, without calling anything that the file names."""
        name = function.name if isinstance(function, Global) else f"a {type(function).__name__}"
        if name in self.functions and isinstance(arguments, tuple):
            return self.functions[name](*arguments)
        if name in HARMLESS:
            return Opaque(name)
        raise RefusedCall(f"it would call {name}, which no file of weights needs")
