"""The methods of pretraining by name. A new one is a file beside this one and a name here."""

from primus_jax.objectives.base import ObjectiveConfig
from primus_jax.objectives.cpc import CPCConfig
from primus_jax.objectives.distill import DistillConfig
from primus_jax.objectives.moco import MocoConfig
from primus_jax.objectives.motif import MotifObjectiveConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.objectives.relcon import RelConConfig
from primus_jax.objectives.simsiam import SimSiamConfig

OBJECTIVES: dict[str, type[ObjectiveConfig]] = {
    config.kind: config
    for config in (
        PrimusConfig,
        MultitaskConfig,
        CPCConfig,
        DistillConfig,
        MotifObjectiveConfig,
        RelConConfig,
        MocoConfig,
        SimSiamConfig,
    )
}
