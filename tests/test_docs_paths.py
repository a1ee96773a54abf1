"""Every link, anchor, path and module that README.md and docs/*.md name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
# The changelog names what was there before.
PAGES = [path for path in PAGES if path.name != "CHANGELOG.md"]
# Folders whose files are in the repository; other paths are a user's own.
TRACKED = ("primus_jax", "data_prep", "tests", "configs", "launch", "benchmarks", "docs")
# Folders of the package that the pages name without `primus_jax/`.
ROOMS = sorted(path.name for path in (ROOT / "primus_jax").iterdir() if path.is_dir())
FILE = re.compile(
    rf"(?<![\w/.-])((?:{'|'.join([*TRACKED, *ROOMS])})/[\w./-]*\w\.(?:py|sh|yaml|sbatch|md|png)|"
    rf"(?:{'|'.join([*TRACKED, *ROOMS])})/(?:[\w-]+/)*(?=`))"
)
MODULE = re.compile(r"\b((?:primus_jax|data_prep)(?:\.[A-Za-z_]\w*)+)")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose(path: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text_of(path), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def exists(name: str) -> bool:
    return (ROOT / name).exists() or (ROOT / "primus_jax" / name).exists()


def importable(dotted: str) -> bool:
    """Whether a dotted name is a module, or a name that its module's text defines or imports."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        stem = ROOT.joinpath(*parts[:length])
        file = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
        if file.is_file():
            rest = parts[length : length + 1]
            return not rest or re.search(rf"\b{rest[0]}\b", text_of(file)) is not None
    return False


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_and_anchor_resolves(path):
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        page = path.parent / name if name else path
        if not page.exists() or (anchor and anchor not in anchors(page)):
            wrong.append(target)
    assert not wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_path_exists(path):
    names = {match.group(1) for match in FILE.finditer(text_of(path))}
    assert not [name for name in sorted(names) if not exists(name)]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_module_exists(path):
    # The page "Add a method" makes this one.
    names = set(MODULE.findall(text_of(path))) - {"primus_jax.objectives.companion"}
    assert not [name for name in sorted(names) if not importable(name)]


def test_the_checks_see_the_names():
    found = {match.group(1) for page in PAGES for match in FILE.finditer(text_of(page))}
    assert {"configs/tour.py", "primus_jax/window.py", "losses/ring.py"} <= found
    assert not exists("tests/test_nothing.py")
    assert not importable("primus_jax.nothing")
    assert importable("primus_jax.load_encoder")
