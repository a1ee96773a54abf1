"""One bout of an activity, and the pieces of which every activity is made.

Angles in radians, lengths in metres.
"""

import dataclasses

import numpy as np

from data_prep.simulated.body import DOFS, PELVIS_HEIGHT, SIDES, Angle, Body, CompletePose, Pose

TAU = 2 * np.pi


@dataclasses.dataclass(frozen=True)
class Bout:
    """One performance: when it is sampled, who performs it, and what varies between performances.

    `time` is `[time]` in seconds and may begin before 0; the bout lasts `seconds`.
    """

    time: np.ndarray
    seconds: float
    body: Body
    tempo: float
    amplitude: float
    hand: str
    rng: np.random.Generator

    def about(self, value: float, spread: float = 0.1) -> float:
        """`value` as it happens to be in this bout (log-normal)."""
        return float(value * np.exp(self.rng.normal(0, spread)))

    def phase(self, hz: float) -> np.ndarray:
        """A running phase `[time]` from a random start, at `hz` times the tempo, not quite even."""
        start, slow = self.rng.uniform(0, TAU, 2)
        time = self.time + 0.04 * np.sin(TAU * 0.23 * self.time + slow)
        return start + TAU * hz * self.tempo * time

    def repeats(self, go: float, hold: float, rest: float) -> np.ndarray:
        """A weight `[time]` that goes 0 -> 1, holds, comes back and rests, again and again."""
        go, hold, rest = (self.about(s, 0.15) / self.tempo for s in (go, hold, rest))
        period = 2 * go + hold + rest
        start = -period + self.rng.uniform(0.1, 0.9) * min(period, self.seconds)
        weight = np.zeros_like(self.time)
        while start < self.time[-1]:
            weight += move(self.time, start, go) - move(self.time, start + go + hold, go)
            start += period * self.rng.uniform(0.92, 1.08)
        return weight


def move(time: np.ndarray, start: float, duration: float) -> np.ndarray:
    """The minimum-jerk step from 0 to 1."""
    u = np.clip((time - start) / duration, 0, 1)
    return u**3 * (10 - 15 * u + 6 * u**2)


def bump(phase: np.ndarray, width: float) -> np.ndarray:
    """A smooth periodic pulse of height 1 at phase 0; `width` is its deviation in radians."""
    return np.exp((np.cos(phase) - 1) / width**2)


def mix(a: Pose, b: Pose, weight: Angle) -> Pose:
    """The pose between `a` (weight 0) and `b` (weight 1)."""
    names = {**a, **b}
    return {n: a.get(n, 0.0) + (b.get(n, 0.0) - a.get(n, 0.0)) * weight for n in names}


def both(**angles: Angle) -> Pose:
    """The same limb angles on both sides."""
    return {f"{side}_{name}": value for side in SIDES for name, value in angles.items()}


def standing(b: Bout) -> Pose:
    """The joint angles of upright standing."""
    arms = both(shoulder_flexion=0.05, shoulder_abduction=0.12, elbow_flexion=0.25)
    return {"z": PELVIS_HEIGHT * b.body.height, **arms}


def seated(b: Bout) -> Pose:
    """The joint angles of sitting on a chair."""
    legs = both(hip_flexion=b.about(1.4, 0.06), knee_flexion=b.about(1.5, 0.08), hip_abduction=0.15)
    arms = both(shoulder_flexion=b.about(0.45, 0.3), shoulder_abduction=0.15, elbow_flexion=0.9)
    slouch = b.rng.normal(-0.15, 0.1)
    root = {"z": b.about(0.5, 0.05), "pelvis_pitch": slouch, "trunk_pitch": 0.1 - 0.7 * slouch}
    return {**root, **legs, **arms}


def sway(b: Bout, pose: CompletePose) -> None:
    """Add, in place, the breathing, sway and small wandering of every living body."""
    hz = b.rng.uniform(0.1, 1.1, 12)
    waves = np.exp(1j * TAU * hz[:, None] * b.time)
    size = b.rng.normal(0, 0.3, (len(DOFS), 12, 2)) / (1 + hz[:, None])
    wander = size[..., 0] @ waves.real + size[..., 1] @ waves.imag
    scale = dict(x=0.004, y=0.004, z=0.001, heading=0.015, pelvis_pitch=0.006, pelvis_roll=0.006)
    for name, drift in zip(DOFS, wander, strict=True):
        pose[name] += scale.get(name, 0.012) * drift
    pose["trunk_pitch"] += 0.008 * np.sin(b.phase(0.27))
