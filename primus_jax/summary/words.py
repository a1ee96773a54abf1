"""The summary in words, from bouts alone: durations, counts, order, the longest, the unsure."""

import math
from collections.abc import Sequence

from primus_jax.reports.markdown import markdown_table
from primus_jax.summary.activity import Activity
from primus_jax.summary.bouts import Bout

# Stretches that a list names one by one; the others are counted.
MOST_LISTED = 30


def summary_text(activity: Activity) -> str:
    """The summary as plain sentences; equal bouts give equal words."""
    lines = [
        f"Summary of {activity.name}",
        "",
        coverage(activity),
        *totals(activity),
        *longest(activity),
        *unsure(activity),
        "",
        *order(activity),
        "",
        *limits(activity),
    ]
    return "\n".join(lines) + "\n"


def summary_markdown(activity: Activity) -> str:
    """The same as Markdown, with a table of the labels."""
    shares = shares_of(activity)
    rows = [
        [
            name,
            duration(seconds),
            f"{100 * seconds / activity.covered_seconds:.1f}",
            f"{len(bouts)}",
            f"{duration(max(bout.seconds for bout in bouts))}",
            f"{sum(bout.confidence * bout.windows for bout in bouts) / windows(bouts):.2f}",
        ]
        for name, (seconds, bouts) in shares.items()
    ]
    header = ["label", "time", "%", "bouts", "longest", "mean confidence"]
    lines = [
        f"# Summary of {activity.name}",
        coverage(activity),
        markdown_table(header, rows),
        "\n".join([*longest(activity), *unsure(activity)]),
        "## In order of time",
        "\n".join([order(activity)[0], "", *(f"- {line}" for line in order(activity)[1:])]),
        "## Where the labels come from",
        "\n".join(limits(activity)),
    ]
    return "\n\n".join(line for line in lines if line) + "\n"


def shares_of(activity: Activity) -> dict[str, tuple[float, list[Bout]]]:
    """Seconds and bouts of each label that occurs, most time first, "unsure" last."""
    found: dict[str | None, list[Bout]] = {}
    for bout in activity.bouts:
        found.setdefault(bout.label, []).append(bout)
    summed = [(label, math.fsum(b.seconds for b in bouts), bouts) for label, bouts in found.items()]
    summed.sort(key=lambda row: (row[0] is None, -row[1]))
    return {bouts[0].name: (seconds, bouts) for _, seconds, bouts in summed}


def coverage(activity: Activity) -> str:
    """How long the recording is, and how much of it windows cover."""
    found, covered = activity.prediction, activity.covered_seconds
    text = (
        f"The recording lasts {duration(found.report.seconds)}; {found.report.windows:,} windows "
        f"of {found.window_seconds:g} s cover {duration(covered)} of it."
    )
    gaps = activity.gaps
    if gaps:
        named, more = listed([f"{clock(a)} to {clock(b)}" for a, b in gaps])
        number = "1 gap" if len(gaps) == 1 else f"{len(gaps):,} gaps"
        text += f" No window covers {number}: {', '.join(named)}{more}. Nothing is known of them."
    return text


def totals(activity: Activity) -> list[str]:
    """A line for each label: time, share, bouts."""
    return [
        f"{name}: {duration(seconds)} ({100 * seconds / activity.covered_seconds:.1f} %) in "
        f"{counted(bouts)}."
        for name, (seconds, bouts) in shares_of(activity).items()
    ]


def longest(activity: Activity) -> list[str]:
    """A line on the longest bout of a label."""
    sure = [bout for bout in activity.bouts if bout.label is not None]
    if not sure:
        return ["No label was sure at any time."]
    bout = max(sure, key=lambda bout: bout.seconds)
    return [
        f"The longest bout is {bout.name}, {duration(bout.seconds)} from "
        f"{clock(bout.start_seconds)} to {clock(bout.end_seconds)}."
    ]


def unsure(activity: Activity) -> list[str]:
    """A line that names the stretches without a sure label."""
    bouts = [bout for bout in activity.bouts if bout.label is None]
    if not bouts:
        return []
    named, more = listed([f"{clock(b.start_seconds)} to {clock(b.end_seconds)}" for b in bouts])
    number = "1 stretch" if len(bouts) == 1 else f"{len(bouts):,} stretches"
    return [
        f"In {number} no label was sure: {', '.join(named)}{more}. What happened there is not "
        f"known."
    ]


def order(activity: Activity) -> list[str]:
    """A heading and the bouts in order of time: all, or the longest of them."""
    bouts = list(activity.bouts)
    heading = "In order, after the first sample:"
    if len(bouts) > MOST_LISTED:
        chosen = sorted(range(len(bouts)), key=lambda i: -bouts[i].seconds)[:MOST_LISTED]
        left_out = len(bouts) - MOST_LISTED
        bouts = [bouts[i] for i in sorted(chosen)]
        heading = (
            f"In order, after the first sample, the {MOST_LISTED} longest bouts ({left_out:,} "
            f"shorter ones are in bouts.csv):"
        )
    return [heading, *map(bout_line, bouts)]


def limits(activity: Activity) -> list[str]:
    """Where labels come from, the rule of the bouts, and what the labels cannot tell."""
    rule = activity.rule
    return [
        activity.source,
        f"A bout begins at a probability of {rule.enter:g}, lasts while it is {rule.stay:g} or "
        f"more, and is at least {rule.min_seconds:g} s long unless gaps bound it. Shorter bouts "
        f"are part of their neighbours.",
        "Another activity than those named is given the label that it resembles, or none.",
    ]


def bout_line(bout: Bout) -> str:
    """Begin, end, label, length and confidence of a bout."""
    return (
        f"{clock(bout.start_seconds)} to {clock(bout.end_seconds)}: {bout.name}, "
        f"{duration(bout.seconds)}, confidence {bout.confidence:.2f}"
    )


def listed(words: Sequence[str]) -> tuple[Sequence[str], str]:
    """The first `MOST_LISTED` words, and how many more there are."""
    more = len(words) - MOST_LISTED
    return words[:MOST_LISTED], f" and {more:,} more" if more > 0 else ""


def counted(bouts: Sequence[Bout]) -> str:
    """The number of bouts in words."""
    return "1 bout" if len(bouts) == 1 else f"{len(bouts):,} bouts"


def windows(bouts: Sequence[Bout]) -> int:
    """Windows of all bouts."""
    return sum(bout.windows for bout in bouts)


def clock(seconds: float) -> str:
    """Seconds after the first sample as hours:minutes:seconds, rounded to a second."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def duration(seconds: float) -> str:
    """A length of time in its two largest units, rounded to a second below an hour."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"
