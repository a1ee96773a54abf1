"""The rows of IMG2IMU's table II, with PRIMUS and hand-crafted statistics beside them.

    primus-jax prepare pack packs/usc_had.npz --out data/eval/usc_had
    primus-jax study configs/study_img2imu.py --out studies/img2imu \\
        --external "ImageNet supervised=encoders/imagenet" "IMG2IMU=encoders/img2imu"

| row of the paper | here |
|---|---|
| random 1-D | random initialisation of the motion encoder |
| SimCLR, multi-task, CPC 1-D | pretrained by the study |
| random 2-D | random initialisation of ResNet-18 on spectrograms |
| ImageNet supervised | `--external`; docs/vision.md makes the folder of a torchvision file |
| SimSiam, MoCo, MoCo + all, IMG2IMU | `--external`; configs/img2imu.py pretrains on images |

The study pretrains on windows, so encoders that were pretrained on images come as exported folders.
Folders of one name, such as pretraining seeds, are averaged. A row without a folder is left out.
Every row is tested on the same five folds of people, with 1 to 50 windows of each class.

The classifier is the probe, whose penalty is chosen on people left out. The paper's schedule moves
a weight by about .005, and the head stays near its random start: docs/evaluation.md has numbers.
`primus-jax fewshot --protocol img2imu` has that schedule. Further deviations: 1-D rows share the
motion encoder, and are pretrained on the datasets of configs/primus_small.py, whose docstring
prepares them. Image encoders see the accelerometer alone.

With the paper's data, prepared for 10 s, 2 s, 2 s and 5 s windows (the paper does not state which
task has which of 2, 5 and 10 s), half overlapping:

    primus-jax prepare capture24 --raw DIR --out data/capture24 --window 5 --hop 2.5
    primus-jax prepare wisdm_v1 --raw DIR --out data/eval/wisdm_v1 --window 10 --hop 5
    primus-jax prepare goat --raw DIR --out data/eval/goat --window 2 --hop 1
    primus-jax prepare pvs --raw DIR --out data/eval/pvs --window 2 --hop 1 \\
        --placement "left dashboard"
    primus-jax prepare daphnet --raw DIR --out data/eval/daphnet --window 5 --hop 2.5 \\
        --placement ankle
    primus-jax study configs/study_img2imu.py --out studies/img2imu --train data/capture24 \\
        --development data/eval/wisdm_v1 --test data/eval/daphnet

Goat and PVS have 2 s windows, shorter than the 128 samples of a frame: give `--external` encoders
of a shorter frame, and leave the default random row out. PVS has three vehicles, so its study needs
`people="kfold:3"`. PRIMUS needs sentences, which Capture-24 has only by activity.

Cost: 12 runs of 3 to 5 minutes on 2 CPU cores, 50 minutes, then 5 minutes for each evaluation
dataset. The same command resumes after any stop. It was not run as a whole.
"""

import dataclasses
from pathlib import Path

from primus_jax.config_file import read_config
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.study.study import Study

RECIPE = Path(__file__).parent / "primus_small.py"
CPC = Path(__file__).parent / "cpc.py"


def get_study() -> Study:
    """Methods of windows; encoders that were pretrained on images come by `--external`."""
    base = read_config(str(RECIPE), [])
    views = dataclasses.replace(base.objective, multimodal=False, neighbors=False)
    return Study(
        methods={
            "PRIMUS": base,
            "SimCLR": dataclasses.replace(base, objective=views),
            "multi-task": dataclasses.replace(base, objective=MultitaskConfig()),
            "CPC": read_config(str(CPC), []),
        },
        pretraining_seeds=(0, 1, 2),
        development=("data/eval/usc_had",),
        shots=(1, 2, 5, 10, 20, 50),
        seeds=3,
        people="kfold:5",
        untrained={"ResNet-18 on spectrograms": VisionConfig()},
    )
