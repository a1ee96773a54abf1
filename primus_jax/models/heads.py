"""Which head of an encoder is compared with sentences or videos, and whether training compared it.

Search, retrieval, zero-shot and heads from class prompts all ask here, so that they agree.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

_COMPARED = {"text": "sentences", "video": "videos"}


@dataclasses.dataclass(frozen=True)
class CrossModalHead:
    """The head to compare with the embeddings of another modality.

    Attributes:
        name: "mmcl", or "emb" where the encoder has a single head.
        trained: whether pretraining compared this head with the modality; None: not known.
        reason: the answer in words, to go after "the encoder" in a sentence.
    """

    name: str
    trained: bool | None
    reason: str


def cross_modal_head(
    heads: Collection[str], metadata: Mapping[str, Any], target: str = "text"
) -> CrossModalHead:
    """Return the head for `target` and what the metadata states about its training.

    Args:
        heads: names of the encoder's outputs (`config.heads`).
        metadata: of the encoder; imported weights have no "config" in it.
        target: "text" or "video".
    """
    name = "mmcl" if "mmcl" in heads else "emb"
    objective = metadata.get("config", {}).get("objective", {})
    compared = _COMPARED[target]
    if "random_seed" in metadata:
        return CrossModalHead(name, False, "was never trained (random initialisation)")
    if not objective:
        return CrossModalHead(
            name,
            None,
            f"does not state its training, so its head {name!r} is taken as trained with "
            f"{compared}",
        )
    if target in _compared_targets(objective):
        return CrossModalHead(name, True, f"was pretrained with {compared} at its head {name!r}")
    return CrossModalHead(name, False, f"has an objective that did not compare it with {compared}")


def _compared_targets(objective: Mapping[str, Any]) -> Collection[str]:
    """The targets with which an objective compares the head, from its config."""
    targets = objective.get("targets", ())
    if objective.get("kind") != "distill":
        return targets if objective.get("multimodal") else ()
    return targets if objective["loss"] != "none" else objective["teachers"] or targets
