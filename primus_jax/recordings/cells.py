"""How people and programs write a missing cell, and what is left of a cell without its blanks."""

# pandas, R, SQL and spreadsheets; compared in lower case.
MISSING = frozenset(
    (
        *("", "nan", "-nan", "null", "(null)", "#null!", "none", "na", "n/a", "#n/a", "#na"),
        *("#n/a n/a", "<na>", "nat", "-", "--", "?"),
    )
)


def is_missing(cell: str) -> bool:
    """Return whether a cell of text or numbers holds no value."""
    return cell.strip().lower() in MISSING


def word(cell: str) -> str:
    """Return a cell of text without blanks around it, "" for a missing one."""
    cell = cell.strip()
    return "" if cell.lower() in MISSING else cell
