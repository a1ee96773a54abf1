"""A simulated person: a jointed skeleton, and where one of its segments is over time.

World frame: z up, metres. Body frame: x forward, y left, z up. Limbs hang along -z when every
angle is zero (standing upright). A pose is a dict from the names in `DOFS` to arrays `[time]` or
scalars, in radians and metres; an absent name is zero. A complete pose has an array for every name.
"""

import dataclasses
import functools

import numpy as np

SIDES = ("left", "right")
ROOT = ("x", "y", "z", "heading", "pelvis_pitch", "pelvis_roll", "pelvis_yaw")
SPINE = ("trunk_pitch", "trunk_roll", "trunk_yaw", "head_pitch", "head_roll", "head_yaw")
LIMB = (
    "shoulder_flexion",
    "shoulder_abduction",
    "shoulder_rotation",
    "elbow_flexion",
    "pronation",
    "hip_flexion",
    "hip_abduction",
    "knee_flexion",
)
DOFS = ROOT + SPINE + tuple(f"{side}_{name}" for side in SIDES for name in LIMB)

Angle = np.ndarray | float
Pose = dict[str, Angle]
CompletePose = dict[str, np.ndarray]
Segment = tuple[np.ndarray, np.ndarray]

# Segment lengths and half widths as fractions of body height (close to Winter's table).
PELVIS_HEIGHT, TRUNK, HEAD = 0.53, 0.29, 0.12
SHOULDER_HALF, HIP_HALF = 0.115, 0.055
UPPER_ARM, FOREARM, THIGH, SHANK = 0.186, 0.17, 0.245, 0.26


@dataclasses.dataclass(frozen=True)
class Body:
    """How one person is built, holds itself and moves: all that differs between bodies."""

    height: float  # metres
    tempo: float  # multiplies every rate
    amplitude: float  # multiplies the size of movements
    gain: dict[str, float]  # by degree of freedom, multiplies its deviation from a bout's mean
    posture: dict[str, float]  # by degree of freedom, radians added to every pose
    dominant: str  # "left" or "right" hand


def draw_body(rng: np.random.Generator) -> Body:
    """Draw one person; heights, tempi and amplitudes spread as in a healthy adult population."""
    angles = DOFS[4:]
    gain = np.exp(rng.normal(0, 0.15, len(angles)))
    posture = np.radians(rng.normal(0, 4.0, len(angles)))
    return Body(
        height=float(np.clip(rng.normal(1.71, 0.09), 1.48, 1.98)),
        tempo=float(np.exp(np.clip(rng.normal(0, 0.11), -0.25, 0.25))),
        amplitude=float(np.exp(np.clip(rng.normal(0, 0.15), -0.35, 0.35))),
        gain=dict(zip(angles, gain, strict=True)),
        posture=dict(zip(angles, posture, strict=True)),
        dominant="right" if rng.random() < 0.85 else "left",
    )


def complete(pose: Pose, length: int) -> CompletePose:
    """Every degree of freedom as a new float64 array `[length]`."""
    return {name: np.full(length, pose.get(name, 0.0), np.float64) for name in DOFS}


def rotation(yaw: np.ndarray, pitch: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Rz(yaw) Ry(pitch) Rx(roll) as `[time, 3, 3]`."""
    cz, sz, cy, sy, cx, sx = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    out = np.empty((*np.broadcast_shapes(cz.shape, cy.shape, cx.shape), 3, 3))
    out[..., 0, 0] = cz * cy
    out[..., 0, 1] = cz * sy * sx - sz * cx
    out[..., 0, 2] = cz * sy * cx + sz * sx
    out[..., 1, 0] = sz * cy
    out[..., 1, 1] = sz * sy * sx + cz * cx
    out[..., 1, 2] = sz * sy * cx - cz * sx
    out[..., 2, 0] = -sy
    out[..., 2, 1] = cy * sx
    out[..., 2, 2] = cy * cx
    return out


class Skeleton:
    """Forward kinematics of one pose; a segment is computed when it is asked for.

    `pose` is complete (every name of `DOFS`, arrays `[time]`). A segment is a pair: the world
    position of its upper end `[time, 3]` and its rotation to the world `[time, 3, 3]`.
    """

    def __init__(self, pose: CompletePose, height: float) -> None:
        self.pose, self.height = pose, height
        self.zero = np.zeros_like(pose["x"])

    def below(self, segment: Segment, *offset: float) -> np.ndarray:
        """A point fixed to a segment, `offset` in body heights in its own frame: `[time, 3]`."""
        position, frame = segment
        return position + frame @ (self.height * np.asarray(offset))

    @functools.cached_property
    def pelvis(self) -> Segment:
        p = self.pose
        frame = rotation(p["heading"], p["pelvis_pitch"], p["pelvis_roll"])
        # The yaw comes last, about the body's own long axis: a person who lies can lie on a side.
        return np.stack([p["x"], p["y"], p["z"]], -1), frame @ rotation(
            p["pelvis_yaw"], self.zero, self.zero
        )

    @functools.cached_property
    def trunk(self) -> Segment:
        p = self.pose
        bend = rotation(p["trunk_yaw"], p["trunk_pitch"], p["trunk_roll"])
        return self.pelvis[0], self.pelvis[1] @ bend

    @functools.cached_property
    def head(self) -> Segment:
        p = self.pose
        neck = self.below(self.trunk, 0, 0, TRUNK)
        return neck, self.trunk[1] @ rotation(p["head_yaw"], p["head_pitch"], p["head_roll"])

    def arm(self, side: str) -> tuple[Segment, Segment]:
        """The upper arm and the forearm of one side."""
        p, sign = self.pose, 1 if side == "left" else -1
        # Ry(-flexion) Rx(abduction): the arm is raised sideways first, then carried forward.
        lift = rotation(
            self.zero, -p[f"{side}_shoulder_flexion"], sign * p[f"{side}_shoulder_abduction"]
        )
        twist = rotation(sign * p[f"{side}_shoulder_rotation"], self.zero, self.zero)
        shoulder = self.below(self.trunk, 0, sign * SHOULDER_HALF, TRUNK)
        upper = shoulder, self.trunk[1] @ lift @ twist
        bend = rotation(self.zero, -p[f"{side}_elbow_flexion"], self.zero)
        turn = rotation(sign * p[f"{side}_pronation"], self.zero, self.zero)
        return upper, (self.below(upper, 0, 0, -UPPER_ARM), upper[1] @ bend @ turn)

    def leg(self, side: str) -> tuple[Segment, Segment]:
        """The thigh and the shank of one side."""
        p, sign = self.pose, 1 if side == "left" else -1
        swing = rotation(self.zero, -p[f"{side}_hip_flexion"], sign * p[f"{side}_hip_abduction"])
        hip = self.below(self.pelvis, 0, sign * HIP_HALF, -0.01)
        thigh = hip, self.pelvis[1] @ swing
        bend = rotation(self.zero, p[f"{side}_knee_flexion"], self.zero)
        return thigh, (self.below(thigh, 0, 0, -THIGH), thigh[1] @ bend)

    def joints(self) -> np.ndarray:
        """World positions `[time, 15, 3]`: pelvis, chest, head, and six joints of each side."""
        points = [
            self.pelvis[0],
            self.below(self.trunk, 0, 0, TRUNK),
            self.below(self.head, 0, 0, HEAD),
        ]
        for side in SIDES:
            upper_arm, forearm = self.arm(side)
            thigh, shank = self.leg(side)
            points += [upper_arm[0], forearm[0], self.below(forearm, 0, 0, -FOREARM)]
            points += [thigh[0], shank[0], self.below(shank, 0, 0, -SHANK)]
        return np.stack(points, 1)
