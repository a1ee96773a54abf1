"""Windows of a tone per class, features of clusters per class, and the draws of a protocol."""

import dataclasses

import jax
import numpy as np

from primus_jax.evals.features import Features
from primus_jax.evals.fewshot import paper_training as training
from primus_jax.evals.fewshot.draws import DrawOptions, make_draws
from primus_jax.evals.fewshot.sampling import padded_rows
from support.tiny_config import POOLED

SMALL = dataclasses.replace(POOLED, embed_dim=16, channels=4, multihead=False)


def people_and_tones(per_class: int = 8, people: int = 6, dim: int = 12) -> tuple:
    """Features of two clusters per class, and windows of a tone per class."""
    rng = np.random.default_rng(0)
    label = np.tile(np.repeat(np.arange(3), per_class), people).astype(np.int32)
    name = np.repeat([f"person {i}" for i in range(people)], 3 * per_class)
    x = 2 * rng.normal(size=(3, dim))[label] + rng.normal(size=(len(label), dim))
    time = np.arange(140) / 50
    wave = np.sin(2 * np.pi * (1 + 2 * label[:, None]) * time + rng.uniform(0, 6, (len(label), 1)))
    imu = wave[..., None] * (1 + label[:, None, None]) * rng.normal(1, 0.1, (len(label), 1, 6))
    blank = np.full(len(label), "train")
    names = ("a", "b", "c")
    features = Features(x.astype(np.float32), label, names, name, name, name, blank, blank)
    return features, imu.astype(np.float32)


def draws_of(features, shots=(4,), seeds=3):
    draws = make_draws(features, DrawOptions(shots, seeds), validation=0.2)
    seeds = draws.sides.seed
    labelled = features.label >= 0
    validation = padded_rows(draws.sides.validation & labelled)
    test = padded_rows(draws.sides.test & labelled)
    rows = draws.labelled.rows.reshape(len(seeds), -1)
    valid = draws.labelled.valid.reshape(len(seeds), -1)
    keys = jax.vmap(jax.random.key)(seeds.astype(np.uint32))
    return training.PaperDraws(rows, valid, *validation, test[0], keys)
