"""One answer to "was this encoder trained with sentences, and which head?"."""

import pytest

from primus_jax.models.heads import cross_modal_head

BOTH = {"multimodal": True, "targets": ("text", "video")}


@pytest.mark.parametrize(
    ("metadata", "target", "trained"),
    [
        ({"config": {"objective": BOTH}}, "text", True),
        ({"config": {"objective": BOTH}}, "video", True),
        ({"config": {"objective": {**BOTH, "targets": ["video"]}}}, "text", False),
        ({"config": {"objective": {**BOTH, "multimodal": False}}}, "text", False),
        ({"config": {"objective": {"hidden": 256}}}, "text", False),
        ({"random_seed": 0}, "text", False),
        ({"random_seed": 0, "config": {"objective": BOTH}}, "text", False),
        ({}, "text", None),
        ({"config": {}, "source": "somebody's.pt"}, "video", None),
    ],
)
def test_what_the_metadata_states(metadata, target, trained):
    found = cross_modal_head(("emb", "ssl", "mmcl"), metadata, target)
    assert (found.name, found.trained) == ("mmcl", trained)
    assert cross_modal_head(("emb",), metadata, target).name == "emb"
    if trained is None:
        assert "does not state its training" in found.reason
