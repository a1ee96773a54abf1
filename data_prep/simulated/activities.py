"""Activities of a simulated person: each is a function from a bout to a pose over time.

Gaits are harmonics and smooth bumps of a phase; actions are minimum-jerk moves between postures
(Flash and Hogan 1985). Angles in radians, lengths in metres, before the person's own posture and
gain are applied (`simulate.motion`). Numbers are plausible, not fitted to recordings.
"""

from collections.abc import Callable

import numpy as np

from data_prep.simulated.body import PELVIS_HEIGHT, SIDES, Angle, Pose
from data_prep.simulated.bout import TAU, Bout, both, bump, mix, move, seated, standing
from primus_jax.window import GRAVITY


def fidget(b: Bout, pose: Pose) -> Pose:
    """Now and then a still person looks aside or shifts a hand."""
    out = dict(pose)
    for chance, name, size in (
        (0.5, "head_yaw", 0.6),
        (0.3, "head_pitch", 0.25),
        (0.35, f"{b.hand}_elbow_flexion", 0.35),
        (0.2, f"{b.hand}_shoulder_flexion", 0.25),
        (0.2, "trunk_roll", 0.1),
    ):
        if b.rng.random() < chance:
            swing = b.rng.normal(0, size) * b.repeats(0.8, b.rng.uniform(0.2, 2.0), 3.0)
            out[name] = out.get(name, 0.0) + swing
    return out


def gait(
    b: Bout,
    hz: float,
    speed: float,
    hip: float,
    knee: float,
    arm: float,
    *,
    rise: float = 0.0,
    hip_mean: float = 0.1,
    knee_mean: float = 0.12,
    bounce: float = 0.02,
    strike: float = 0.003,
    elbow: float = 0.35,
    lean: float = 0.04,
) -> Pose:
    """Two legs half a cycle apart; the pelvis rises twice a cycle and is stopped at each strike."""
    phase, size = b.phase(hz), b.amplitude
    hip, knee, arm, bounce, strike = (b.about(v) * size for v in (hip, knee, arm, bounce, strike))
    pose = standing(b)
    for side, shift in zip(SIDES, (0.0, np.pi), strict=True):
        p = phase + shift
        pose[f"{side}_hip_flexion"] = hip_mean + hip * np.cos(p) + 0.15 * hip * np.cos(2 * p - 0.6)
        pose[f"{side}_knee_flexion"] = (
            knee_mean + knee * bump(p + 1.2, 0.75) + 0.15 * size * bump(p - 0.5, 0.45)
        )
        pose[f"{side}_shoulder_flexion"] = -arm * np.cos(p + 0.2) + lean
        pose[f"{side}_elbow_flexion"] = elbow - 0.4 * arm * np.cos(p + 0.5)
    steps = phase / np.pi
    climb = rise * (steps - steps[0] + 0.5 * np.sin(TAU * steps + 0.8) / TAU)
    stop = bump(phase - 0.1, 0.16) + bump(phase + np.pi - 0.1, 0.16)
    swing = np.cos(phase)
    return pose | {
        "x": b.about(speed) * b.tempo * size * b.time + 0.01 * size * np.sin(2 * phase),
        "y": 0.015 * np.sin(phase),
        "z": pose["z"] - bounce * np.cos(2 * phase) - strike * stop + climb,
        "heading": b.rng.normal(0, 0.08) * b.time,
        "pelvis_pitch": lean + 0.02 * np.sin(2 * phase),
        "pelvis_roll": 0.06 * size * np.sin(phase),
        "pelvis_yaw": -0.1 * size * swing,
        "trunk_yaw": 0.18 * size * swing,
        "trunk_roll": -0.04 * size * np.sin(phase),
        "head_yaw": -0.07 * size * swing,
        "head_pitch": -0.5 * lean + 0.02 * np.cos(2 * phase),
    }


def walk(b: Bout) -> Pose:
    """Walking on level ground."""
    return gait(b, 0.95, 1.3, 0.40, 0.95, 0.35)


def run(b: Bout) -> Pose:
    """Running: a faster gait with a flight phase and bent elbows."""
    return gait(b, 1.38, 2.7, 0.58, 1.45, 0.5, bounce=0.03, strike=0.006, elbow=1.5, lean=0.12)


def on_rail(b: Bout, pose: Pose) -> Pose:
    """On stairs, often one hand follows the rail."""
    if b.rng.random() > 0.35:
        return pose
    hold: Pose = {f"{b.hand}_shoulder_flexion": 0.5, f"{b.hand}_elbow_flexion": 0.6}
    return pose | mix(pose, pose | hold, 0.8)


def walk_upstairs(b: Bout) -> Pose:
    """Climbing stairs: higher knees, a rising path."""
    climb = dict(rise=0.165, hip_mean=0.5, knee_mean=0.3, bounce=0.012, lean=0.2)
    return on_rail(b, gait(b, 0.82, 0.55, 0.42, 1.0, 0.2, **climb))


def walk_downstairs(b: Bout) -> Pose:
    """Going down stairs: harder steps, a falling path."""
    descent = dict(rise=-0.165, hip_mean=0.25, knee_mean=0.25, strike=0.006, lean=-0.02)
    return on_rail(b, gait(b, 0.92, 0.6, 0.24, 1.0, 0.22, **descent))


def cycle(b: Bout) -> Pose:
    """Pedalling on a bicycle, with the road's vibration."""
    phase = b.phase(1.15)
    lean = b.about(0.35, 0.3)
    pose = both(shoulder_flexion=0.9 + 0.5 * lean, elbow_flexion=0.35, shoulder_abduction=0.15)
    for side, shift in zip(SIDES, (0.0, np.pi), strict=True):
        pose[f"{side}_hip_flexion"] = 1.0 + 0.38 * np.cos(phase + shift)
        pose[f"{side}_knee_flexion"] = 1.2 + 0.55 * np.cos(phase + shift - 0.35)
    road = b.about(0.00025, 0.5) * sum(
        np.sin(TAU * f * b.time + a)
        for f, a in zip(b.rng.uniform(5, 14, 4), b.rng.uniform(0, TAU, 4), strict=True)
    )
    return pose | {
        "x": b.about(4.5) * b.tempo * b.time,
        "z": 0.95 + road + 0.004 * np.cos(2 * phase),
        "heading": b.rng.normal(0, 0.12) * b.time,
        "pelvis_pitch": 0.25 + 0.3 * lean,
        "pelvis_roll": 0.05 * b.amplitude * np.cos(phase),
        "trunk_pitch": lean,
        "trunk_roll": -0.03 * b.amplitude * np.cos(phase),
        "head_pitch": -0.6 * lean - 0.2,
    }


def sit(b: Bout) -> Pose:
    """Sitting still."""
    return fidget(b, seated(b))


def stand(b: Bout) -> Pose:
    """Standing still."""
    return fidget(b, standing(b) | {"pelvis_roll": b.rng.normal(0, 0.05)})


def lie(b: Bout) -> Pose:
    """Lying still, on the back or on a side."""
    # On the back mostly, else on one side: a turn about the body's long axis.
    side = b.rng.choice([0.0, 0.0, np.pi / 2, -np.pi / 2]) + b.rng.normal(0, 0.15)
    legs = both(hip_flexion=b.about(0.25, 0.5), knee_flexion=b.about(0.35, 0.6))
    arms = both(shoulder_flexion=0.15, shoulder_abduction=0.25, elbow_flexion=b.about(0.6, 0.5))
    root = {"z": b.about(0.45, 0.3), "pelvis_pitch": -np.pi / 2 + b.rng.normal(0, 0.12)}
    return fidget(b, {**root, "pelvis_yaw": side, "head_pitch": 0.25, **legs, **arms})


def transition(b: Bout, rising: bool) -> Pose:
    """Stand up or sit down once, somewhere in the bout; the trunk bends forward on the way."""
    duration = min(b.about(1.7, 0.15) / b.tempo, 0.8 * b.seconds)
    weight = move(b.time, b.rng.uniform(0.1, 0.9) * (b.seconds - duration), duration)
    sitting = 1 - weight if rising else weight
    pose = mix(standing(b), seated(b), sitting)
    halfway = 4 * weight * (1 - weight)
    pose["trunk_pitch"] = pose["trunk_pitch"] + b.about(0.45) * b.amplitude * halfway
    pose["pelvis_pitch"] = pose["pelvis_pitch"] + b.about(0.3) * b.amplitude * halfway
    for name in ("left_shoulder_flexion", "right_shoulder_flexion"):
        pose[name] = pose[name] + b.about(0.3, 0.4) * halfway
    # On a chair the pelvis is behind the feet.
    return pose | {"x": -0.4 * sitting}


def stand_up(b: Bout) -> Pose:
    """From sitting to standing, once."""
    return transition(b, rising=True)


def sit_down(b: Bout) -> Pose:
    """From standing to sitting, once."""
    return transition(b, rising=False)


def turn(b: Bout) -> Pose:
    """Turns on the spot by small steps: a quarter to three quarters of a circle, and back."""
    angle = b.rng.choice([-1, 1]) * b.rng.uniform(0.5, 1.5) * np.pi
    weight = b.repeats(abs(angle) / b.about(1.9), 0.4, 0.5)
    activity = np.clip(4 * weight * (1 - weight), 0, 1)
    phase = b.phase(0.9)
    pose = standing(b)
    for side, shift in zip(SIDES, (0.0, np.pi), strict=True):
        lifted = activity * bump(phase + shift, 0.8) * b.amplitude
        pose[f"{side}_hip_flexion"] = 0.35 * lifted
        pose[f"{side}_knee_flexion"] = 0.6 * lifted
    return pose | {
        "z": pose["z"] - 0.008 * activity * np.cos(2 * phase),
        "y": 0.02 * activity * np.sin(phase),
        "heading": angle * weight,
        "head_yaw": 0.4 * np.sign(angle) * activity,
        "pelvis_roll": 0.04 * activity * np.sin(phase),
    }


def reach(b: Bout) -> Pose:
    """Reaching up with one arm and coming back."""
    top = b.rng.uniform(1.5, 2.6) * min(b.amplitude, 1.15)
    up = standing(b)
    up |= {f"{b.hand}_shoulder_flexion": top, f"{b.hand}_elbow_flexion": b.about(0.25, 0.3)}
    lift, sign = 0.04 * (top > 2), 1 if b.hand == "left" else -1
    up |= {"trunk_pitch": 0.12, "trunk_roll": 0.08 * sign, "z": up["z"] + lift, "head_pitch": -0.25}
    up |= {"pelvis_roll": 0.07 * sign, "pelvis_yaw": -0.15 * sign, "y": 0.04 * sign}
    return mix(standing(b), up, b.repeats(0.9, 0.5, 0.7))


def pick_up(b: Bout) -> Pose:
    """Bending down to the floor and coming up."""
    squat = b.rng.uniform(0.15, 1.0)
    down = both(
        hip_flexion=0.5 + 0.9 * squat,
        knee_flexion=0.15 + 1.5 * squat,
        shoulder_flexion=0.9,
    )
    down |= {"z": (PELVIS_HEIGHT - 0.04 - 0.18 * squat) * b.body.height, "x": -0.15}
    down |= {"pelvis_pitch": 0.75 - 0.4 * squat, "trunk_pitch": 0.7, "head_pitch": 0.1}
    down |= {f"{b.hand}_elbow_flexion": 0.15}
    return mix(standing(b), down, b.repeats(1.1, 0.35, 0.9))


def jump(b: Bout) -> Pose:
    """Jumping on the spot."""
    hz = 0.7 / np.sqrt(b.tempo)
    phase, size = b.phase(hz), b.amplitude
    height = 0.18 * size
    # At the top the body falls freely: height * omega^2 / width^2 = g.
    width = TAU * hz * b.tempo * np.sqrt(height / GRAVITY)
    crouch = bump(phase + 1.3, 0.5) + 0.6 * bump(phase - 1.5, 0.4)
    flight = bump(phase - 0.1, width)
    landing = bump(phase - 1.3, 0.14)
    pose = standing(b)
    legs = both(hip_flexion=0.9 * size * crouch, knee_flexion=1.2 * size * crouch)
    arms = both(shoulder_flexion=size * (1.1 * flight - 0.5 * crouch), elbow_flexion=0.5)
    root = {"z": pose["z"] + height * flight - size * (0.14 * crouch + 0.006 * landing)}
    return pose | legs | arms | root | {"trunk_pitch": 0.35 * size * crouch}


def wipe(b: Bout) -> Pose:
    """Wiping a surface with one hand."""
    phase, size = b.phase(1.25), b.amplitude
    pose = standing(b)
    arm: dict[str, Angle] = {
        "shoulder_flexion": 0.75 + 0.25 * size * np.cos(phase),
        "shoulder_rotation": 0.1 + 0.4 * size * np.sin(phase),
        "elbow_flexion": 0.9 - 0.35 * size * np.cos(phase),
        "pronation": 0.8,
    }
    pose |= {f"{b.hand}_{name}": value for name, value in arm.items()}
    sway = 0.03 * size * np.sin(phase + 0.4)
    root: Pose = {"pelvis_pitch": 0.12, "pelvis_yaw": 0.8 * sway, "pelvis_roll": 0.5 * sway}
    spine: Pose = {"trunk_pitch": 0.3 + sway, "trunk_yaw": sway, "head_pitch": 0.35}
    return pose | root | spine | {"y": 0.2 * sway}


def drink(b: Bout) -> Pose:
    """Lifting a cup to the mouth and putting it back."""
    rest = seated(b) if b.rng.random() < 0.5 else standing(b)
    rest |= {f"{b.hand}_elbow_flexion": 1.2, f"{b.hand}_pronation": 0.6}
    cup: Pose = {f"{b.hand}_elbow_flexion": 2.15, f"{b.hand}_shoulder_flexion": b.about(0.75)}
    cup |= {f"{b.hand}_shoulder_abduction": 0.35, f"{b.hand}_pronation": 1.0}
    cup |= {"head_pitch": rest.get("head_pitch", 0.0) - b.about(0.3, 0.3)}
    return mix(rest, rest | cup, b.repeats(1.0, 1.1, 1.2))


ACTIVITIES: dict[str, Callable[[Bout], Pose]] = {
    f.__name__: f
    for f in (
        walk,
        walk_upstairs,
        walk_downstairs,
        run,
        cycle,
        sit,
        stand,
        lie,
        stand_up,
        sit_down,
        turn,
        reach,
        pick_up,
        jump,
        wipe,
        drink,
    )
}
