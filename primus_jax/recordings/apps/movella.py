"""Movella DOT, the later name of Xsens DOT: the same columns, units and clock."""

import dataclasses

from primus_jax.recordings.apps import xsens_dot

APP = dataclasses.replace(
    xsens_dot.APP,
    name="movella",
    title="Movella DOT",
    source="Movella DOT user manual (logged data)",
)
