"""The one writer of Markdown tables."""

from collections.abc import Sequence


def markdown_table(
    header: Sequence[str], body: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)
) -> str:
    """A table whose columns are padded to one width, so that it also reads as plain text.

    Args:
        header: a cell per column.
        body: rows of as many cells.
        left: numbers of the columns that are aligned left; the others are aligned right.
    """
    # A separator has three characters at least, and a right-aligned one ends in a colon.
    widths = [max(3, *(len(row[i]) for row in [header, *body])) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * w if i in left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, body)])
