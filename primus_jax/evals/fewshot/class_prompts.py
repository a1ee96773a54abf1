"""Where a linear head starts: at the class prompts, for encoders that were trained with text."""

import dataclasses
from pathlib import Path

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.evals.crossmodal.class_head import class_embeddings, folder_class_embeddings
from primus_jax.models.heads import cross_modal_head


@dataclasses.dataclass(frozen=True)
class HeadStart:
    """How the classifier of one encoder on one dataset starts.

    Attributes:
        head: the output of the encoder that is classified.
        class_embedding: float32 `[classes, dim]`, the head's first weights; None: random ones.
        note: what a reader must know about this choice, in a sentence; or "".
    """

    head: str
    class_embedding: np.ndarray | None = None
    note: str = ""


def head_start(
    prompts: str | None, encoder: Encoder | None, folder: DatasetFolder, head: str | None = None
) -> HeadStart:
    """Start at the prompts unless the encoder is known not to have been trained with text.

    Where its training is not known, the widths decide: an encoder that was compared with these
    prompts has a head as wide as they are.

    Args:
        prompts: a file of class prompts, or "folder" for the sentences stored in the dataset;
            None: random heads.
        encoder: None for methods without learning, whose heads start at random.
        folder: the dataset.
        head: the output that was asked for; None: chosen here.

    Raises:
        PrimusError: what `class_embeddings` and `folder_class_embeddings` raise.
    """
    if prompts is None or encoder is None:
        return HeadStart(head or "emb")
    compared = cross_modal_head(encoder.config.heads, encoder.metadata)
    if compared.trained is False:
        note = f"its classifier starts at random, since the encoder {compared.reason}"
        return HeadStart(head or "emb", note=note)
    if prompts == "folder":
        embedding = folder_class_embeddings(folder)
    else:
        embedding = class_embeddings(Path(prompts), folder.label_names)
    name = head or compared.name
    if compared.trained:
        return HeadStart(name, embedding)
    width, dim = encoder.config.width(name), embedding.shape[1]
    if width != dim:
        note = (
            f"its classifier starts at random, since the encoder does not state its training and "
            f"its head {name!r} has {width} values, the class prompts {dim}"
        )
        return HeadStart(head or "emb", note=note)
    note = f"its classifier starts at the class prompts; the encoder {compared.reason}"
    return HeadStart(name, embedding, note)
