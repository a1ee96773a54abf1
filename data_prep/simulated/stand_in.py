"""Stand-ins for the frozen text and video towers, for the simulated dataset only.

No weights can be downloaded by the demo, so these are not CLIP and not CLIP4Clip: the text vector
is a bag of hashed words with a small thesaurus, the video vector a linear description of where
the joints of the simulated body are and how they move. Both are fixed functions without labels.
"""

import functools
import hashlib
import re

import numpy as np
from scipy import fft

EMBED_DIM = 512
VIDEO_HZ = 12.5


def stem(word: str) -> str:
    """Strip the commonest English endings."""
    for ending in ("ing", "ly", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def stems(words: str) -> frozenset[str]:
    """The stems of words separated by blanks."""
    return frozenset(stem(word) for word in words.split())


# Words with little meaning for a motion keep a small part of their weight.
COMMON = stems("""
a an the is are be and or of to in on at by with from for off onto into it its this that person
someone camera wearer she he c goes comes remains something object one
""")
SETTING = stems("""
room kitchen desk sofa window street road park path corridor building floor track gym bed mat living
ground outside chair seat place spot shelf hand left right cloth sponge glass next below again
behind high look along across through forward quiet still
""")
COMMON_WEIGHT, SETTING_WEIGHT = 0.15, 0.4

# A hash lacks a language model's knowledge: words that share a concept share a vector here.
CONCEPTS = {
    "walking": stems("walk stroll"),
    "running": stems("run jog"),
    "cycling": stems("cycl bike bicycle pedal ride"),
    "stairs": stems("stair staircase step upstair downstair"),
    "up": stems("up upstair climb rise overhead lift"),
    "down": stems("down downstair descend lower"),
    "sitting": stems("sit seat seated"),
    "standing": stems("stand"),
    "lying": stems("lie lying flat"),
    "resting": stems("rest still quiet wait"),
    "getting": stems("get take"),
    "turning": stems("turn spin rotat around"),
    "reaching": stems("reach stretch shelf overhead high"),
    "bending": stems("bend pick grab lift floor ground"),
    "jumping": stems("jump hop leap"),
    "wiping": stems("wip clean scrub table surface counter cloth sponge"),
    "drinking": stems("drink sip water cup coffee glass"),
    "slow": stems("slow slowly haste"),
    "fast": stems("fast quick brisk"),
}


@functools.cache
def direction(name: str) -> np.ndarray:
    """The fixed Gaussian vector `[512]` of a name, of expected norm 1."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    rng = np.random.default_rng(int.from_bytes(digest, "little"))
    return rng.standard_normal(EMBED_DIM) / np.sqrt(EMBED_DIM)


@functools.cache
def word_vector(word: str) -> np.ndarray:
    """The weighted vector `[512]` of a word: a part of its own, and its concepts."""
    root = stem(word)
    vector = direction(f"word {root}")
    concepts = [name for name, members in CONCEPTS.items() if root in members]
    if concepts:
        vector = 0.6 * vector + 0.8 * np.sum([direction(f"concept {c}") for c in concepts], axis=0)
    return vector * (COMMON_WEIGHT if root in COMMON else SETTING_WEIGHT if root in SETTING else 1)


def text_embedding(text: str) -> np.ndarray:
    """A stand-in for a CLIP text embedding of any English sentence: float32 `[512]`, unit norm."""
    words = re.findall(r"[a-z]+", text.lower())
    total = np.sum([word_vector(word) for word in words], axis=0) if words else direction("empty")
    return (total / np.linalg.norm(total)).astype(np.float32)


# Of a standing body, from the pelvis, in heights: pelvis, chest, head, then shoulder, elbow, wrist,
# hip, knee, ankle of each side.
NEUTRAL = np.array(
    [[0, 0, 0], [0, 0, 0.29], [0, 0, 0.41]]
    + [
        [0, side * y, z]
        for side in (1, -1)
        for y, z in (
            (0.115, 0.29),
            (0.13, 0.11),
            (0.14, -0.06),
            (0.055, -0.01),
            (0.055, -0.255),
            (0.055, -0.515),
        )
    ]
)


@functools.cache
def camera_projection(features: int) -> np.ndarray:
    """The fixed random projection `[features, 512]`."""
    rng = np.random.default_rng(20260)
    return rng.standard_normal((features, EMBED_DIM)) / np.sqrt(EMBED_DIM)


def video_features(joints: np.ndarray) -> np.ndarray:
    """Describe how joints `[frames, joints, 3]` at 12.5 Hz move, in body heights: `[features]`.

    In the frame of a camera that follows the pelvis: the mean place of each joint, its first
    cosine coefficients (slow, directed change), its amplitude in four bands of frequency, and
    the height and velocity of the pelvis. Groups are scaled to comparable sizes.
    """
    frames = len(joints)
    pelvis = joints[:, 0]
    path = np.linspace(pelvis[0], pelvis[-1], frames)
    velocity = (pelvis[-1] - pelvis[0]) * VIDEO_HZ / frames
    local = joints - pelvis[:, None]
    local[:, 0] = pelvis - path
    mean = local.mean(0)
    steady = local - mean
    slow = fft.dct(steady, axis=0, norm="ortho")[1:4] / np.sqrt(frames)
    spectrum = np.abs(fft.rfft(steady * np.hanning(frames)[:, None, None], axis=0)) / frames
    hz = fft.rfftfreq(frames, 1 / VIDEO_HZ)
    bands = [
        np.sqrt(np.square(spectrum[(hz >= low) & (hz < high)]).sum(0))
        for low, high in ((0.15, 0.7), (0.7, 1.2), (1.2, 2.1), (2.1, 6.0))
    ]
    # Square roots: a sway of a centimetre is seen beside a swing of half a metre.
    return np.concatenate(
        [
            1.5 * (mean - NEUTRAL).ravel(),
            2.0 * slow.ravel(),
            2.0 * np.sqrt(np.stack(bands)).ravel(),
            3.0 * np.tanh(velocity * (1.0, 1.0, 3.0)),
            3.0 * np.tanh(pelvis[:1, 2] - 0.5),
        ]
    )


def video_embedding(joints: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A stand-in for a video embedding, computed from the simulated body: float32 `[512]`, unit.

    Args:
        joints: `[frames, 15, 3]` at 12.5 Hz, in body heights, x along the initial heading, the
            height above the ground kept.
        rng: draws the camera: its angle to the heading (some 20 degrees) and the error of each
            joint in each frame (1.5 % of body height).
    """
    angle = rng.normal(0, np.radians(20))
    c, s = np.cos(angle), np.sin(angle)
    seen = joints @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    seen = seen + rng.normal(0, 0.015, seen.shape)
    features = video_features(seen)
    total = features @ camera_projection(features.size)
    return (total / np.linalg.norm(total)).astype(np.float32)
