"""What surrounds the code: the README's map, the API page, versions, and what a wheel holds."""

import configparser
import importlib.util
import re
from pathlib import Path

import yaml

import primus_jax

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def folders(package: str) -> list[str]:
    """Every folder of Python files below a package, as "package/folder/"."""
    found = {path.parent for path in (ROOT / package).rglob("*.py")} - {ROOT / package}
    return sorted(f"{folder.relative_to(ROOT).as_posix()}/" for folder in found)


def test_the_map_of_the_readme_names_every_folder():
    rows = re.findall(r"^\| (`.*) \|", README.split("## Map")[1], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    wanted = {*folders("primus_jax"), *folders("data_prep"), "data_prep/"}
    assert named >= wanted, wanted - named
    for name in named:
        assert (ROOT / name).is_dir(), name


def test_every_folder_is_a_package_of_the_wheel():
    """`find:` takes folders with `__init__.py`; py.typed is data, which is named."""
    for folder in (*folders("primus_jax"), *folders("data_prep")):
        assert (ROOT / folder / "__init__.py").is_file(), folder
    for package in ("primus_jax", "data_prep"):
        assert (ROOT / package / "py.typed").is_file()
        assert "py.typed" in SETUP["options.package_data"][package].split()


def test_the_api_page_is_that_of_the_docstrings():
    spec = importlib.util.spec_from_file_location("make_api", ROOT / "docs" / "make_api.py")
    make_api = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_api)
    written = make_api.PAGE.read_text(encoding="utf-8")
    assert written == make_api.page(), "docs/api.md is old: run `make api`"


def test_a_type_checker_sees_every_public_name():
    source = Path(primus_jax.__file__).read_text(encoding="utf-8")
    names = re.findall(r"^    from (\S+) import (\w+) as \2$", source, re.MULTILINE)
    assert {name: module for module, name in names} == primus_jax._PUBLIC


def test_versions_agree():
    version = SETUP["metadata"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"


def test_every_tool_of_make_lint_is_pinned_and_a_hook():
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    extra = SETUP["options.extras_require"]["test"]
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    tools = set(re.findall(r"\$\(VENV\)/bin/(\w+)", recipe))
    assert tools == {"ruff", "codespell", "mypy"}
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {Path(hook["entry"].split()[0]).name for hook in hooks} == tools
    for tool in tools:
        assert re.search(rf"^{tool}==", pinned, re.MULTILINE), tool
        assert re.search(rf"^{tool}>=", extra, re.MULTILINE), tool


def test_python_versions_agree():
    required = SETUP["options"]["python_requires"]
    oldest = re.fullmatch(r">=3\.(\d+)(,.*)?", required)[1]
    assert f"With Python 3.{oldest}, " in README
    assert f"Programming Language :: Python :: 3.{oldest}" in SETUP["metadata"]["classifiers"]
    config = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'target-version = "py3{oldest}"' in config
