"""Bouts as the messages for a language model, cut to a number of tokens; never the signal."""

from primus_jax.errors import PrimusError
from primus_jax.summary.activity import Activity
from primus_jax.summary.bouts import Bout
from primus_jax.summary.endpoint import estimated_tokens
from primus_jax.summary.words import bout_line as line
from primus_jax.summary.words import coverage, duration, limits, totals

INSTRUCTIONS = (
    "Summarise the day of a person who wore a motion sensor, from the list of bouts below alone. "
    "Write a few short paragraphs in order of time. Name durations. State no place, person, "
    "purpose, mood or health that the labels do not name. Where a bout is unsure or no window "
    "covers the time, write that it is not known."
)


def messages(activity: Activity, tokens: int) -> list[dict[str, str]]:
    """The chat that asks for a summary: totals of every label, and bouts in order of time.

    Where not all bouts fit, the longest are listed, and the rest is counted.

    Args:
        activity: of a recording.
        tokens: that instructions and list may hold, as `endpoint.estimated_tokens` counts them.

    Raises:
        PrimusError: not even the totals and one bout fit.
    """
    head = "\n".join([coverage(activity), *totals(activity), *limits(activity)])
    bouts = activity.bouts
    by_length = sorted(range(len(bouts)), key=lambda i: -bouts[i].seconds)
    # a line costs more than a token
    low, high = 0, min(len(bouts), tokens)
    while low < high:
        middle = (low + high + 1) // 2
        whole = _content(head, bouts, by_length, middle)
        fits = estimated_tokens(INSTRUCTIONS + whole) <= tokens
        low, high = (middle, high) if fits else (low, middle - 1)
    if not low:
        raise PrimusError(
            f"--llm-tokens {tokens} hold neither the totals of {len(totals(activity))} labels nor "
            f"a bout; expected at least "
            f"{estimated_tokens(INSTRUCTIONS + _content(head, bouts, by_length, 1)):,}."
        )
    return [
        {"role": "system", "content": INSTRUCTIONS},
        {"role": "user", "content": _content(head, bouts, by_length, low)},
    ]


def _content(head: str, bouts: tuple[Bout, ...], by_length: list[int], count: int) -> str:
    """The text with the `count` longest bouts, in order of time."""
    chosen, rest = sorted(by_length[:count]), by_length[count:]
    lines = [head, "", "Bouts, times after the first sample:"]
    lines += [line(bouts[i]) for i in chosen]
    if rest:
        lines.append(
            f"{len(rest):,} shorter bouts, together {duration(sum(bouts[i].seconds for i in rest))}"
            f", are left out of this list but counted above."
        )
    return "\n".join(lines)
