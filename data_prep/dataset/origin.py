"""Where the recordings of a dataset come from, as its metadata states it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from primus_jax.data.metadata import CorpusVersion


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where recordings come from.

    Attributes:
        source: who measured what, in words.
        licence: of the recordings, in words.
        simulated: nothing was measured.
        corpus: name and version of the corpus, or None.
        failed: units of the corpus that could not be prepared, with the reason.
        facts: further keys of `metadata.json`, as JSON.
    """

    source: str
    licence: str
    simulated: bool = False
    corpus: CorpusVersion | None = None
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
