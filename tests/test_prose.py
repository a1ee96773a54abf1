"""The mechanical part of the rule for prose: README.md, docs/*.md and docstrings."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The history quotes old words; the API page is made of docstrings, which have bounds of their own.
EXCLUDED = ("CHANGELOG.md", "api.md")
PAGES = sorted(
    path for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")] if path.name not in EXCLUDED
)
SOURCES = sorted(
    path
    for folder in ("primus_jax", "data_prep", "configs", "benchmarks", "launch")
    for path in ROOT.glob(f"{folder}/**/*.py")
)
# The rule asks for under 25 words; these bounds hold what is reached. Lower them, never raise them.
LONGEST_IN_PAGES = 30
LONGEST_IN_DOCSTRINGS = {
    "primus_jax/commands": 35,
    "configs": 35,
    "benchmarks": 35,
    "launch": 35,
    "primus_jax": 55,
    "data_prep/har": 24,
    "data_prep/ego4d": 24,
    "data_prep/egoexo4d": 24,
    "data_prep": 60,
}
FORBIDDEN = {
    'write "dataset"': r"\bdata[-\s]+sets?\b",
    'write "is not a"': r"(?<!\b[Tt]here )\b(is|are|was|were)\s+no\b(?!\s+(longer|better)\b)",
    "a file states, a process logs": r"\b(says|speaks?|spoken|tells)\b",
    "a file states": r"\b(files?|folders?|pages?|messages?|logs?|tables?|headers?|rows?)\s+say\b",
    "no noun clause as subject": r"^(What|Whatever|Whoever|Whose|How)\b[^?]*$",
}
# Docstrings are held to the rules that a search can decide without reading.
FORBIDDEN_IN_DOCSTRINGS = {'write "dataset"': FORBIDDEN['write "dataset"']}
BLOCK_START = re.compile(r"\s*([-*]|\d+\.)\s")


def blocks(text: str) -> list[tuple[int, str]]:
    """Paragraphs and list items of Markdown with their first line; no code, tables, headings."""
    found: list[tuple[int, list[str]]] = []
    fenced, opened = False, False
    for number, line in enumerate(text.splitlines(), 1):
        fence = line.lstrip().startswith("```")
        if fence or fenced or not line.strip() or re.match(r"\s*\||#|    ", line):
            fenced, opened = fenced != fence, False
            continue
        if not opened or BLOCK_START.match(line):
            found.append((number, []))
        found[-1][1].append(line)
        opened = True
    return [(number, "\n".join(lines)) for number, lines in found]


def sentences(text: str, first: int = 1) -> list[tuple[int, str]]:
    """Sentences of a paragraph with their lines; a span of code is one word, a link its text."""
    text = re.sub(r"(`+)[^`]*\1", lambda span: "CODE" + "\n" * span[0].count("\n"), text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    found, start = [], 0
    for end in [match.end() for match in re.finditer(r"[.!?][)*\"']*\s+", text)] + [len(text)]:
        sentence = text[start:end]
        line = first + text.count("\n", 0, start + len(sentence) - len(sentence.lstrip()))
        if sentence.strip():
            found.append((line, BLOCK_START.sub("", sentence, count=1).strip(" \n*")))
        start = end
    return found


def words(sentence: str) -> int:
    return len(re.findall(r"\S*\w\S*", sentence))


def faults(
    found: list[tuple[int, str]], path: Path, longest: int, forbidden: dict[str, str]
) -> list[str]:
    """One line for every fault: file, line, rule and sentence."""
    wrong = []
    for line, sentence in found:
        rules = [rule for rule, pattern in forbidden.items() if re.search(pattern, sentence)]
        if words(sentence) > longest:
            rules.append(f"{words(sentence)} words, {longest} at most")
        shown = " ".join(sentence.split())
        wrong += [f"{path.relative_to(ROOT)}:{line}: {rule}: {shown}" for rule in rules]
    return wrong


def docstrings(path: Path) -> list[tuple[int, str]]:
    """Paragraphs of the docstrings of a file, with their lines; no indented code or sections."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, kinds) and ast.get_docstring(node):
            first = node.body[0].lineno
            found += [(first + n - 1, text) for n, text in blocks(ast.get_docstring(node))]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_keep_the_rule(path):
    found = [
        sentence
        for first, block in blocks(path.read_text(encoding="utf-8"))
        for sentence in sentences(block, first)
    ]
    assert found
    wrong = faults(found, path, LONGEST_IN_PAGES, FORBIDDEN)
    assert not wrong, "\n" + "\n".join(wrong)


def test_docstrings_keep_the_rule():
    wrong = []
    for path in SOURCES:
        found = [one for first, block in docstrings(path) for one in sentences(block, first)]
        name = path.relative_to(ROOT).as_posix()
        longest = next(n for room, n in LONGEST_IN_DOCSTRINGS.items() if name.startswith(room))
        wrong += faults(found, path, longest, FORBIDDEN_IN_DOCSTRINGS)
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_check_finds_what_it_looks_for():
    text = """# A heading says nothing

A score is no
probability. The folder says which.

| a table says | anything |
```
a data set in code
```
- What is left out is counted. There is no gyroscope.
- A data
  set: `is no x`. It is no longer here.
"""
    found = [one for first, block in blocks(text) for one in sentences(block, first)]
    wrong = faults(found, ROOT / "page.md", 5, FORBIDDEN)
    assert [fault.split(": ")[:2] for fault in wrong] == [
        ["page.md:3", 'write "is not a"'],
        ["page.md:4", "a file states, a process logs"],
        ["page.md:10", "no noun clause as subject"],
        ["page.md:10", "6 words, 5 at most"],
        ["page.md:11", 'write "dataset"'],
    ]
