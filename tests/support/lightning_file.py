"""Writes a checkpoint in the layout of the released PRIMUS one, with PyTorch, for tests."""

import argparse
import collections

import torch


class Unheard:
    """A hyper-parameter of a class that no reader can know."""

    def __init__(self):
        self.width = 512


def lightning_checkpoint(tensors, extra=None):
    """What Lightning saves: the encoder under `imu_encoder.`, frozen towers and much else.

    Args:
        tensors: the encoder's weights by PyTorch name.
        extra: more entries of the hyper-parameters.
    """
    generator = torch.Generator().manual_seed(0)
    towers = {
        "video_encoder.clip.logit_scale": torch.tensor(4.6),
        "video_encoder.clip.visual.conv1.weight": torch.rand(8, 3, 4, 4, generator=generator),
        "video_encoder.clip.positional_embedding": torch.rand(77, 8, generator=generator).half(),
        "text_encoder.net.1.weight": torch.rand(8, 8, generator=generator),
        "text_encoder.position_ids": torch.arange(77)[None],
        "text_encoder.mask": torch.zeros(3, 3, dtype=torch.bool),
        "text_encoder.scale": torch.nn.Parameter(torch.ones(8)),
        "text_encoder.complex": torch.ones(2, dtype=torch.complex64),
    }
    state = collections.OrderedDict(towers)
    for name, value in tensors.items():
        state[f"imu_encoder.{name}"] = torch.from_numpy(value)
    parameters = [torch.nn.Parameter(value) for value in state.values() if value.ndim == 3]
    optimizer = torch.optim.AdamW(parameters, lr=5e-4)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "epoch": 12,
        "global_step": 4321,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"current": {"ready": 13}}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min'}": {
                "monitor": "val_loss",
                "best_model_score": torch.tensor(1.25),
                "best_k_models": {"a/best_model.ckpt": torch.tensor(1.25)},
                "kth_value": torch.tensor(1.25),
            }
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [{"last_epoch": 12, "_last_lr": [5e-4], "milestones": {1, 2}}],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "args": argparse.Namespace(batch_size=16, gamma=0.1),
            "device": torch.device("cpu"),
            "size": torch.Size([6, 250]),
            "dtype": torch.float32,
            "unheard": Unheard(),
            "module": torch.nn.Linear(2, 2),
            **(extra or {}),
        },
    }
