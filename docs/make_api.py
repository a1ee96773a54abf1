"""Write docs/api.md from the docstrings: what `primus_jax` exports, configs and protocols.

    make api

A test compares the page with the docstrings.
"""

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path

import primus_jax
from primus_jax.data.inputs import Input
from primus_jax.models.base import EncoderConfig
from primus_jax.models.encoders import ENCODERS
from primus_jax.objectives.base import Objective, ObjectiveConfig
from primus_jax.objectives.distill_settings import DistillSettings
from primus_jax.objectives.registry import OBJECTIVES
from primus_jax.recordings.table_format import TableFormat
from primus_jax.study.study import RetrievalOptions, Study

PAGE = Path(__file__).with_name("api.md")
HEAD = """\
# API

Made from the docstrings by `make api`; edit those, not this page.

The first part is imported from `primus_jax`: `from primus_jax import load_encoder`. The second
part is what a config file, a study file or a new method uses, by its module.
"""
# Beside the parts of `Config`, of every objective and of every encoder.
FURTHER = (
    DistillSettings,
    EncoderConfig,
    Input,
    Objective,
    ObjectiveConfig,
    RetrievalOptions,
    Study,
    TableFormat,
)
Definition = ast.ClassDef | ast.FunctionDef


def page() -> str:
    """The whole page."""
    public = [getattr(primus_jax, name) for name in primus_jax.__all__]
    kinds = (*OBJECTIVES.values(), *ENCODERS.values())
    parts = {part for kind in (primus_jax.Config, *kinds) for part in bags(kind)}
    named = {*kinds, *parts, *FURTHER} - {*public}
    further = sorted(named, key=lambda item: (item.__module__, item.__name__))
    sections = [HEAD, "## The package\n"]
    sections += [describe(item, f"primus_jax.{item.__name__}") for item in public]
    sections += ["## Configs, protocols and formats\n"]
    sections += [describe(item, f"{item.__module__}.{item.__name__}") for item in further]
    return "\n".join(sections)


def bags(kind: type) -> Iterator[type]:
    """The dataclasses that the fields of `kind` hold, at any depth."""
    for hint in typing.get_type_hints(kind).values():
        for part in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                yield part
                yield from bags(part)


def describe(item: object, name: str) -> str:
    """Heading, signature or fields, docstring, and the public methods of a class."""
    source = textwrap.dedent(inspect.getsource(inspect.unwrap(item)))
    node = ast.parse(source).body[0]
    lines = [f"### `{name}`\n", code(node, source), prose(ast.get_docstring(node))]
    if isinstance(node, ast.ClassDef):
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                title = f"#### `{node.name}.{method.name}`\n"
                lines += [title, code(method, source), prose(ast.get_docstring(method))]
    return "\n".join(line for line in lines if line)


def code(node: Definition, source: str) -> str:
    """A code block: the signature of a function, or the fields or `__init__` of a class."""
    if isinstance(node, ast.FunctionDef):
        text = signature(node.name, node, source)
        if any(getattr(part, "id", "") == "property" for part in node.decorator_list):
            text = text.replace("() ->", ":")
    else:
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        made = [part for part in node.body if getattr(part, "name", "") == "__init__"]
        if fields:
            lines = source.splitlines()[fields[0].lineno - 1 : fields[-1].end_lineno]
            text = "\n".join([f"class {node.name}:", *lines])
        elif made:
            text = signature(node.name, made[0], source)
        else:
            return ""
    return f"```python\n{text}\n```\n"


def signature(name: str, node: ast.FunctionDef, source: str) -> str:
    """One line, or one argument a line where that is longer than 100 characters."""

    def written(part: ast.expr) -> str:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            return part.value
        return ast.get_source_segment(source, part) or ""

    def argument(part: ast.arg, default: ast.expr | None = None, stars: str = "") -> str:
        kind = f": {written(part.annotation)}" if part.annotation else ""
        value = ast.get_source_segment(source, default) if default else None
        return f"{stars}{part.arg}{kind}" + (f" = {value}" if value else "")

    given = node.args
    without = [None] * (len(given.args) - len(given.defaults))
    pairs = zip(given.args, [*without, *given.defaults], strict=True)
    parts = [argument(*pair) for pair in pairs if pair[0].arg not in ("self", "cls")]
    if given.vararg:
        parts.append(argument(given.vararg, stars="*"))
    elif given.kwonlyargs:
        parts.append("*")
    parts += [argument(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        parts.append(argument(given.kwarg, stars="**"))
    result = f" -> {written(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"{name}({', '.join(parts)}){result}"
    if len(line) <= 100:
        return line
    return "\n".join([f"{name}(", *(f"    {part}," for part in parts), f"){result}"])


def prose(docstring: str | None) -> str:
    """A docstring in Markdown: what follows `Args:` and its like becomes a list."""
    lines, listed = [], False
    for line in (docstring or "").splitlines():
        title = re.fullmatch(r"(Args|Attributes|Raises|Returns|Yields):", line)
        entry = re.match(r"    (\w[\w*, ]*): (.*)", line)
        if title:
            listed = title[1] in ("Args", "Attributes", "Raises")
            lines += [f"**{title[1]}**", ""]
        elif entry and listed:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(re.sub(r"^        (?=\S)", "  ", line).removeprefix("    "))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
