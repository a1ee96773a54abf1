"""RelCon's ablation on three small real datasets: which distance, which loss, which candidates.

    primus-jax prepare pack packs/usc_had.npz --out data/eval/usc_had
    for attention in sparsemax softmax; do
      primus-jax pretrain --config configs/motif.py --workdir runs/motif_$attention \\
          --config.steps=300 --config.data.batch_size=32 --config.checkpoint.every=150 \\
          --config.encoder.attention=$attention --config.data.train="('data/small/utd_mhad',\\
          'data/small/sisfall','data/small/classyglass2','data/small/bandai')"
      primus-jax export runs/motif_$attention --to distances/motif_small_$attention
    done
    primus-jax study configs/study_relcon.py --out studies/relcon

Pretraining data and recipe are those of configs/relcon_small.py. The lead row is RelCon: the
relative loss, the distance with sparsemax, candidates within the person. Every other row differs
from it in one thing. Without a distance, the person's candidates are equally near and all others
equally far, so the relative loss is InfoNCE with four positives.

Left out: the rows of the paper without augmentations and without reversible normalisation, which
need distances of their own; the released attention, which is softmax where it is measured. Dynamic
time warping stays within a tenth of the window of the diagonal. All rows read the accelerometer
alone, but the hand-crafted statistics also read the gyroscope.

Cost: 16 runs of 100 steps. On two CPU cores with a load of seven, a run first compiled for a
minute. Then a step took 1.3 s with a learned distance, 0.6 s with another or none. That makes 40
minutes and evaluation; cores that nobody else uses need half. The distances take three minutes
each. The same command resumes after any stop.
"""

import dataclasses
from pathlib import Path

from primus_jax.config import CheckpointConfig
from primus_jax.config_file import read_config
from primus_jax.evals.fewshot.protocol import Protocol
from primus_jax.study.study import Study

RECIPE = Path(__file__).parent / "relcon_small.py"
STEPS = 100
SPARSEMAX, SOFTMAX = "distances/motif_small_sparsemax", "distances/motif_small_softmax"
# Each row differs from the first by these fields of the objective.
ROWS = {
    "RelCon": {},
    "softmax distance": {"distance": SOFTMAX, "attention": "softmax"},
    "Euclidean distance": {"distance": "euclidean"},
    "time warping distance": {"distance": "dtw"},
    "no distance (InfoNCE)": {"distance": "none"},
    "hard loss (REBAR)": {"loss": "hard"},
    "log-ratio loss": {"loss": "log_ratio"},
    "no candidates within a person": {"candidates": 0},
}


def get_study() -> Study:
    """The rows of the published ablation that need no other distance, and two distances more."""
    recipe = read_config(str(RECIPE), [])
    objective = dataclasses.replace(recipe.objective, distance=SPARSEMAX)
    base = dataclasses.replace(
        recipe,
        steps=STEPS,
        objective=objective,
        optim=dataclasses.replace(recipe.optim, warmup_steps=STEPS // 10),
        # The last step of every run is exported: losses of these rows cannot be compared.
        checkpoint=CheckpointConfig(every=STEPS, keep=1),
    )
    return Study(
        methods={
            name: dataclasses.replace(base, objective=dataclasses.replace(objective, **changes))
            for name, changes in ROWS.items()
        },
        ablation=tuple(ROWS),
        pretraining_seeds=(0, 1),
        development=("data/eval/usc_had",),
        shots=(1, 5, 20),
        seeds=3,
        protocol=Protocol(),
        random_seeds=(0, 1),
    )
