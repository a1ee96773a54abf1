"""One self-contained HTML page: text, tables and pictures, no link to anywhere."""

import base64
import dataclasses
import html
from collections.abc import Sequence
from pathlib import Path

from matplotlib.image import imread

from primus_jax.files import replace_file
from primus_jax.reports.figure import DPI

CSS = """
body { font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  color: #222; background: #fff; max-width: 62rem; margin: 2.5rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .6rem; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .5rem; padding-top: 1rem; border-top: 1px solid #e2e2e2; }
p { margin: .5rem 0; max-width: 46rem; }
.note { background: #fff6e5; border-left: 4px solid #e69f00; padding: .6rem .9rem; }
img { max-width: 100%; height: auto; margin: .8rem 0; }
.wide { overflow-x: auto; }
.unscaled img { max-width: none; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: .3rem; }
th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e8e8e8;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 2px solid #999; }
"""


@dataclasses.dataclass(frozen=True)
class Table:
    """A header, rows of as many cells, and a line above."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        heading: above the rest.
        text: plain; a blank line starts a paragraph.
        tables: below the text.
        unscaled: PNG files below the tables whose letters must stay readable; one that is wider
            than the page scrolls sideways.
        images: PNG files below these, shrunk to the page where they are wider.
    """

    heading: str
    text: str = ""
    tables: Sequence[Table] = ()
    unscaled: Sequence[Path] = ()
    images: Sequence[Path] = ()


def write_report(
    path: Path, title: str, intro: str, sections: Sequence[Section], notice: str = ""
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the HTML file.
        title: of the page.
        intro: plain text under the title.
        sections: in order.
        notice: set apart above everything else, for "all data here are simulated" and the like.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if notice:
        parts.append(f'<p class="note">{html.escape(notice)}</p>')
    parts.append(_paragraphs(intro))
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        parts.append(_paragraphs(section.text))
        parts += [_table(table) for table in section.tables]
        for image in section.unscaled:
            parts.append(f'<div class="wide unscaled">{_image(image, section.heading)}</div>')
        parts += [_image(image, section.heading) for image in section.images]
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )
    with replace_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _paragraphs(text: str) -> str:
    blocks = (block.strip() for block in text.split("\n\n"))
    return "\n".join(f"<p>{html.escape(block)}</p>" for block in blocks if block)


def _table(table: Table) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in row) + "</tr>"

    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    body = "\n".join(cells("td", row) for row in table.rows)
    return (
        f'<div class="wide"><table>{caption}<thead>{cells("th", table.header)}</thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def _image(path: Path, alternative: str) -> str:
    """The picture at the size it was drawn for: its inches, at 96 CSS pixels each."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    width = round(imread(path).shape[1] / DPI * 96)
    return (
        f'<img alt="{html.escape(alternative)}" width="{width}" src="data:image/png;base64,{data}">'
    )
