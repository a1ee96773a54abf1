"""The small real study: PRIMUS, its ablation, its baselines and RelCon, three seeds each.

    primus-jax prepare pack packs/usc_had.npz --out data/eval/usc_had
    primus-jax prepare pack packs/classyglass1.npz --out data/eval/classyglass1 --drop-labels \\
        "putting glasses on and off while sitting" "putting glasses on and off while standing" \\
        "picking up items from the floor while sitting" \\
        "picking up items from the floor while standing"
    for place in torso "right arm" "right leg"; do
      primus-jax prepare pack packs/dsads.npz --placement "$place" \\
          --out "data/eval/dsads_${place/ /_}"
    done
    primus-jax study configs/study_small.py --out studies/small

Pretraining data and recipe are those of configs/primus_small.py, whose docstring prepares them.
usc_had is the development set: all choices are made on it. classyglass1 and dsads are the test.

RelCon needs its distance first: configs/relcon_small.py has the two commands that make
distances/motif_small. It is pretrained without bandai, which does not name its people, and reads
the accelerometer alone, so that it has a random initialisation of its own.

Cost: 24 runs of 3 to 5 minutes on 2 CPU cores, 80 minutes, then 5 minutes for each evaluation
dataset. The row "supervised from scratch" is not included; it takes longer than all other rows
together. The same command resumes after any stop. docs/results.md has the outcome.

The published checkpoints of IMU2CLIP are added by
`--external "IMU2CLIP, published=i2c_s_i_t_t_ie_mw2_w_2.5_master_imu_encoder.pt"`; their windows
are resampled to 200 Hz.
"""

import dataclasses
from pathlib import Path

from primus_jax.config_file import read_config
from primus_jax.evals.fewshot.comparison import Protocol
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.study.study import Study

RECIPE = Path(__file__).parent / "primus_small.py"
RELCON = Path(__file__).parent / "relcon_small.py"


def get_study() -> Study:
    """The methods, and the rows for random initialisation, statistics and from scratch."""
    base = read_config(str(RECIPE), [])

    def without(*terms):
        objective = dataclasses.replace(base.objective, **dict.fromkeys(terms, False))
        return dataclasses.replace(base, objective=objective)

    return Study(
        methods={
            "PRIMUS": base,
            "PRIMUS without SS": without("self_supervised"),
            "PRIMUS without MM": without("multimodal"),
            "PRIMUS without NN": without("neighbors"),
            "SimCLR": without("multimodal", "neighbors"),
            "IMU2CLIP": without("self_supervised", "neighbors"),
            "MultitaskSSL": dataclasses.replace(base, objective=MultitaskConfig()),
            "RelCon": read_config(str(RELCON), []),
        },
        ablation=("PRIMUS", "PRIMUS without SS", "PRIMUS without MM", "PRIMUS without NN"),
        pretraining_seeds=(0, 1, 2),
        development=("data/eval/usc_had",),
        test=(
            "data/eval/classyglass1",
            "data/eval/dsads_torso",
            "data/eval/dsads_right_arm",
            "data/eval/dsads_right_leg",
        ),
        shots=(1, 2, 5, 10, 20, 50),
        seeds=5,
        protocol=Protocol(from_scratch=True),
    )
