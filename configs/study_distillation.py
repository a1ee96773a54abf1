"""Ambient AI's comparison on small real datasets: what distillation adds to InfoNCE.

    primus-jax prepare pack packs/usc_had.npz --out data/eval/usc_had
    primus-jax study configs/study_distillation.py --out studies/distillation

Pretraining data are those of configs/primus_small.py, whose docstring prepares them. Retrieval is
among their test people, who have sentences: one per class, or per clip (bandai).

Rows of losses: InfoNCE; each loss beside it, at weight 1 as in the report and at a tenth of the
gradient; each loss alone, at its default weight; triplets. Rows of encoders: the released encoder
by its normalisation, and the report's best: layer norm with attention transfer. `retrieval.md` has
the report's Table 2 (encoders) and Table 3 (losses), `methods_*.png` its Figures 4 to 6, and
`recall_*.png` and `mrr_*.png` its Figures 7 to 12.

Cost: 42 methods of three seeds, 126 runs of 100 steps. A run of the motion encoder takes 40 s on 2
CPU cores, of which half is compilation; one of the released encoder, 40 steps, takes a minute. That
makes an hour and a half, then 20 minutes of evaluation. The same command resumes after any stop.

The report's own comparison is on Ego4D, which is not here. With its licence, and STEPS = 30_000,
`--train data/ego4d --retrieval data/ego4d --development data/ego4d_labelled` is the same study.
"""

import dataclasses
from pathlib import Path

from primus_jax.config import CheckpointConfig
from primus_jax.config_file import read_config
from primus_jax.evals.fewshot.protocol import Protocol
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.distill import DistillConfig
from primus_jax.objectives.distill_settings import TripletOptions
from primus_jax.objectives.distill_terms import LossWeights, default_weights
from primus_jax.study.study import RetrievalOptions, Study

RECIPE = Path(__file__).parent / "distill_small.py"
STEPS = 100
RELEASED_STEPS = 40  # a step of the released encoder costs five of the motion encoder
LOSSES = {
    "similarity preservation": "sp",
    "neuron selectivity": "nst",
    "attention transfer": "at",
    "focused attention": "focused_at",
    "correlation congruence": "cc",
    "probabilistic transfer": "pkt",
    "relational": "rkd",
    "hints": "hints",
    "activation boundaries": "ab",
    "soft target": "st",
    "logits": "logits",
}
ENCODERS = {
    f"released encoder, {norm} norm": ReleasedConfig(
        third_pool="adaptive", multihead=False, norm=norm
    )
    for norm in ("group", "layer", "instance")
}
# The rows of Table 3, a dozen lines to a figure.
PARTS = {
    "weight 1": lambda name: name.endswith("weight 1"),
    "balanced": lambda name: name.endswith("balanced"),
    "one loss alone": lambda name: name.endswith(("alone", "negatives", "video")),
}


def get_study() -> Study:
    """The rows of the report's Tables 2 and 3, with weights that can be compared."""
    recipe = read_config(str(RECIPE), [])
    base = dataclasses.replace(
        recipe,
        steps=STEPS,
        # The last step of every run is exported: values of balanced losses cannot be compared.
        checkpoint=CheckpointConfig(every=STEPS, keep=1),
    )

    def method(encoder=base.encoder, targets=("text",), **objective):
        settings = DistillConfig(targets=targets, view=recipe.objective.view, **objective)
        return dataclasses.replace(base, encoder=encoder, objective=settings)

    losses = {"InfoNCE": method(weights={})}
    for title, name in LOSSES.items():
        losses[f"InfoNCE + {title}, weight 1"] = method(weights={name: 1.0})
        losses[f"InfoNCE + {title}, balanced"] = method(weights={name: 0.1}, balance="gradient")
        losses[f"{title} alone"] = method(loss="none", weights=default_weights(name))
    for negatives in ("cyclic", "hardest"):
        losses[f"triplets, {negatives} negatives"] = method(
            loss="triplet", weights=LossWeights(), triplet=TripletOptions(negatives=negatives)
        )
    losses["InfoNCE, text and video"] = method(targets=("text", "video"), weights={})
    losses["InfoNCE + attention transfer, balanced, text and video"] = method(
        targets=("text", "video"), weights={"at": 0.1}, balance="gradient"
    )
    encoders = {}
    for title, encoder in ENCODERS.items():
        encoders[title] = method(encoder, weights={})
    # The report's best row. Group and instance norm with attention transfer are left out.
    encoders["released encoder, layer norm + attention transfer"] = method(
        ENCODERS["released encoder, layer norm"], weights={"at": 0.1}, balance="gradient"
    )
    short = CheckpointConfig(every=RELEASED_STEPS, keep=1)
    encoders = {
        title: dataclasses.replace(
            config,
            steps=RELEASED_STEPS,
            optim=dataclasses.replace(config.optim, warmup_steps=RELEASED_STEPS // 4),
            checkpoint=short,
        )
        for title, config in encoders.items()
    }
    return Study(
        methods=losses | encoders,
        pretraining_seeds=(0, 1, 2),
        development=("data/eval/usc_had",),
        shots=(1, 5),
        seeds=3,
        protocol=Protocol(),
        random_seeds=(0, 1, 2),
        retrieval=RetrievalOptions(
            data=("data/small/bandai", "data/small/sisfall"),
            targets=("text", "video"),
            pools=(288, 1000),
            pool_seeds=5,
        ),
        tables={
            "Table 2, encoders": ("InfoNCE", *encoders),
            **{
                f"Table 3, {part}": (
                    "InfoNCE",
                    *(name for name in losses if name != "InfoNCE" and rule(name)),
                )
                for part, rule in PARTS.items()
            },
        },
        mapped=(
            "InfoNCE + attention transfer, balanced",
            "InfoNCE",
            "InfoNCE + focused attention, balanced",
        ),
    )
