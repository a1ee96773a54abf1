"""One way down: which rooms of the package may import which, and no circle of files."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]

# From the ground up. A file imports its own room and rooms of lower floors, nothing else of ours,
# but for a room inside its own, or around it, on the same floor.
FLOORS = (
    {"errors", "provenance", "trees"},
    {"files", "numerics", "window", "optim"},
    {"augment", "data", "weights", "models", "models.vision", "losses", "parallel"},
    {"models.clip", "reports", "losses.distillation"},
    {"objectives"},
    {"recordings", "recordings.apps", "hub", "config", "compilation_cache"},
    {"encoder", "config_file", "training", "export.onnx"},
    {"evals", "roofline", "export"},
    {"evals.crossmodal"},
    {"evals.fewshot"},
    {"evals.regression"},
    {"classify", "demo", "study"},
    {"using", "summary", "similar"},
    {"explore"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
# The package of the recordings' side: what its rooms may import of each other.
PREPARATION = (
    {"gait", "narration_text", "quality", "soft_labels", "streams", "video"},
    {"dataset", "user", "simulated"},
    {"har", "ego4d", "egoexo4d", "embed", "images"},
)
# What data_prep may import of primus_jax.
BELOW_PREPARATION = frozenset(
    ("errors", "provenance", "files", "window", "data", "parallel", "models.clip", "recordings")
)


def files() -> dict[str, Path]:
    """Every module of both packages, by its dotted name."""
    paths = sorted([*ROOT.glob("primus_jax/**/*.py"), *ROOT.glob("data_prep/**/*.py")])
    dotted = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in dotted.items()}


MODULES = files()


def imports(name: str) -> set[str]:
    """The modules of ours that a module imports, wherever the statement stands in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {module for module in found if module in MODULES} - {name}


def room(name: str) -> str:
    """ "data_prep.har.dsads" -> "har", "primus_jax.errors" -> "errors"."""
    package = MODULES[name].name == "__init__.py"
    parts = name.split(".")[1:]
    return ".".join(parts if package or len(parts) == 1 else parts[:-1])


def floor_of(floors: tuple[set[str], ...]) -> dict[str, int]:
    return {name: number for number, names in enumerate(floors) for name in names}


def test_every_room_has_a_floor():
    for package, floors in (("primus_jax", FLOORS), ("data_prep", PREPARATION)):
        rooms = {room(name) for name in MODULES if name.startswith(f"{package}.")}
        assert rooms == set(floor_of(floors))


def test_no_room_imports_a_higher_one():
    house, preparation = floor_of(FLOORS), floor_of(PREPARATION)
    wrong = []
    for name in MODULES:
        for other in imports(name) if "." in name else ():
            if "." not in other or (room(other) == room(name) and other[:4] == name[:4]):
                continue
            mine, theirs = name.split(".")[0], other.split(".")[0]
            if (mine, theirs) == ("primus_jax", "data_prep"):
                allowed = room(name) == "commands"
            elif (mine, theirs) == ("data_prep", "primus_jax"):
                allowed = room(other) in BELOW_PREPARATION
            else:
                floors = house if mine == "primus_jax" else preparation
                higher, lower = floors[room(name)], floors[room(other)]
                inside = (room(name) + ".").startswith(room(other) + ".") or (
                    room(other) + "."
                ).startswith(room(name) + ".")
                allowed = lower < higher or (lower == higher and inside)
            if not allowed:
                wrong.append(f"{name} imports {other}")
    assert not wrong


def test_no_circle_of_files():
    left = {name: imports(name) for name in MODULES}
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left
