"""Markdown tables: every cell in its place, columns of one width."""

from primus_jax.reports.markdown import markdown_table


def test_a_table_is_padded_and_aligned():
    table = markdown_table(["method", "1", ""], [["a", "63.0 ± 1.0", "x"], ["longer", "", "y"]])
    assert table.splitlines() == [
        "| method |          1 |     |",
        "| ------ | ---------: | --: |",
        "| a      | 63.0 ± 1.0 |   x |",
        "| longer |            |   y |",
    ]
    assert markdown_table(["", ""], [["k", "v"]], left=(0, 1)).splitlines()[1] == "| --- | --- |"
