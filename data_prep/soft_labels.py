"""Labels made from sentences alone: by TF-IDF against the names of classes, or by patterns.

Nobody looked at the signal: these labels are soft. A sentence that fits no class has none.
"""

import dataclasses
import functools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from primus_jax.errors import PrimusError

NONE = "narrations that fit no class"
SEVERAL = "narrations that fit several classes"
# Words of two letters or more, as scikit-learn's TfidfVectorizer has them by default.
_WORD = re.compile(r"\b\w\w+\b")


@dataclasses.dataclass(frozen=True)
class Match:
    """The class of a sentence, "" for none, and how well it fits, 0 to 1; `why` there is none."""

    label: str
    score: float
    why: str = ""


class Matcher(Protocol):
    """What labels sentences."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names."""
        ...

    def match(self, sentence: str) -> Match:
        """The class of a sentence."""
        ...


def words(sentence: str) -> list[str]:
    """Its words in lower case, without those of one letter."""
    return _WORD.findall(sentence.lower())


@dataclasses.dataclass(frozen=True)
class TfIdf:
    """The class whose name has the largest TF-IDF cosine with the sentence.

    Weights are those of scikit-learn's default: ln((1 + n) / (1 + df)) + 1 for a word that df of n
    sentences hold, times its count, in vectors of unit length. IMU2CLIP's file of nine movements
    has such scores, but lists the best of each class: one sentence may be there under three.

    Attributes:
        labels: class names, which are the queries.
        weight: of each word that the sentences hold.
        unknown: of a word that none of them holds.
        least: a lower score is no label.
    """

    labels: tuple[str, ...]
    weight: Mapping[str, float]
    unknown: float
    least: float

    @classmethod
    def fit(cls, labels: Sequence[str], sentences: Iterable[str], least: float) -> "TfIdf":
        """Count in how many sentences each word is.

        Raises:
            PrimusError: no sentence, or a least score that is not above 0 and at most 1.
        """
        if not 0 < least <= 1:
            raise PrimusError(f"--least {least:g}; expected a score above 0 and at most 1.")
        frequency: Counter[str] = Counter()
        count = 0
        for sentence in sentences:
            frequency.update(set(words(sentence)))
            count += 1
        if not count:
            raise PrimusError("no narration to weigh words by; is this the right download?")
        weight = {word: math.log((1 + count) / (1 + n)) + 1 for word, n in frequency.items()}
        return cls(tuple(labels), weight, math.log(1 + count) + 1, least)

    def match(self, sentence: str) -> Match:
        """The class of largest score, of equal ones none."""
        vector = self.vector(sentence)
        scores = {label: _dot(vector, query) for label, query in self._queries.items()}
        best = max(scores.values())
        if best < self.least:
            return Match("", best, NONE)
        found = [label for label, score in scores.items() if score > best - 1e-9]
        return Match(found[0], best) if len(found) == 1 else Match("", best, SEVERAL)

    @functools.cached_property
    def _queries(self) -> dict[str, dict[str, float]]:
        return {label: self.vector(label) for label in self.labels}

    def vector(self, sentence: str) -> dict[str, float]:
        """Weights of the words of a sentence, of unit length; {} without words."""
        raw = {w: n * self.weight.get(w, self.unknown) for w, n in Counter(words(sentence)).items()}
        length = math.sqrt(sum(value * value for value in raw.values()))
        return {word: value / length for word, value in raw.items()}


@dataclasses.dataclass(frozen=True)
class Patterns:
    """The class whose regular expression is found in the sentence, if it is one class only.

    Attributes:
        expressions: by class.
    """

    expressions: Mapping[str, re.Pattern[str]]

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names."""
        return tuple(self.expressions)

    def match(self, sentence: str) -> Match:
        """The class, with score 1."""
        lower = sentence.lower()
        found = [name for name, pattern in self.expressions.items() if pattern.search(lower)]
        if len(found) == 1:
            return Match(found[0], 1.0)
        return Match("", 0.0, SEVERAL if found else NONE)


def _dot(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    return sum(value * b.get(word, 0.0) for word, value in a.items())
