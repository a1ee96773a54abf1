"""Narrations of simulated bouts: many sentences for one activity, as different annotators write.

The adverb follows how fast the bout really was, and the hand which hand really moved, so a sentence
carries a little more than the label.
"""

import numpy as np

SUBJECTS = ("a person", "someone", "the camera wearer", "the person", "she", "he", "C")

SLOW = ("slowly", "at a slow pace", "without haste")
FAST = ("quickly", "at a fast pace", "briskly")

# activity -> (phrases, endings); an ending may be empty.
PHRASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "walk": (
        ("walks", "walks about", "strolls", "goes for a walk", "is walking", "walks forward"),
        ("", "down a corridor", "outside", "along the street", "across the room", "on a path"),
    ),
    "walk_upstairs": (
        (
            "walks up the stairs",
            "climbs the stairs",
            "goes upstairs",
            "climbs a staircase",
            "is walking upstairs",
            "goes up the steps",
        ),
        ("", "to the next floor", "in a building", "step by step"),
    ),
    "walk_downstairs": (
        (
            "walks down the stairs",
            "descends the stairs",
            "goes downstairs",
            "comes down a staircase",
            "is walking downstairs",
            "goes down the steps",
        ),
        ("", "to the floor below", "in a building", "step by step"),
    ),
    "run": (
        ("runs", "jogs", "is running", "goes for a run", "is jogging", "runs ahead"),
        ("", "outside", "on a track", "through the park", "along the street"),
    ),
    "cycle": (
        ("rides a bike", "cycles", "is cycling", "pedals a bicycle", "rides a bicycle"),
        ("", "on the road", "along the street", "through the park", "outside"),
    ),
    "sit": (
        ("sits", "is sitting still", "sits quietly", "remains seated", "rests seated"),
        ("", "on a chair", "at the desk", "on the sofa", "in the living room"),
    ),
    "stand": (
        ("stands", "is standing still", "stands quietly", "stands and waits", "remains standing"),
        ("", "in the room", "in the kitchen", "by the window", "on the spot"),
    ),
    "lie": (
        ("lies down at rest", "is lying still", "lies quietly", "rests lying", "lies flat"),
        ("", "on the bed", "on the sofa", "on a mat"),
    ),
    "stand_up": (
        (
            "stands up",
            "gets up",
            "rises to stand up",
            "is getting up",
            "goes from sitting to standing up",
        ),
        ("", "from a chair", "from the seat", "from the sofa", "from the desk"),
    ),
    "sit_down": (
        (
            "sits down",
            "takes a seat",
            "lowers to sit down",
            "is sitting down",
            "goes from standing to sitting down",
        ),
        ("", "on a chair", "onto the seat", "on the sofa", "at the desk"),
    ),
    "turn": (
        ("turns around", "turns", "spins around", "is turning around", "rotates in place"),
        ("", "on the spot", "in the room", "to look behind", "and turns back"),
    ),
    "reach": (
        (
            "reaches for the shelf",
            "reaches up",
            "stretches an arm up to the shelf",
            "is reaching overhead",
            "reaches for something high",
        ),
        ("", "in the kitchen", "and comes back", "with the {hand} hand"),
    ),
    "pick_up": (
        (
            "picks up an object",
            "bends to pick up something",
            "picks up a box",
            "is bending to grab something",
            "bends and lifts an object",
        ),
        ("", "from the floor", "from the ground", "off the floor"),
    ),
    "jump": (
        ("jumps", "is jumping", "jumps up and down", "hops", "leaps repeatedly"),
        ("", "on the spot", "in place", "in the gym", "again and again"),
    ),
    "wipe": (
        (
            "wipes the table",
            "cleans the table",
            "wipes a surface",
            "is wiping",
            "scrubs the counter",
        ),
        ("", "with a cloth", "in the kitchen", "with a sponge", "with the {hand} hand"),
    ),
    "drink": (
        ("drinks water", "drinks from a cup", "takes a sip", "is drinking", "sips coffee"),
        ("", "in the kitchen", "at the desk", "from a glass", "with the {hand} hand"),
    ),
}


def sentence(activity: str, tempo: float, hand: str, rng: np.random.Generator) -> str:
    """One sentence for a bout of `activity` at `tempo` (1 is usual) with the `hand` that moved."""
    phrases, endings = PHRASES[activity]
    words = [SUBJECTS[rng.integers(len(SUBJECTS))], phrases[rng.integers(len(phrases))]]
    words.append(endings[rng.integers(len(endings))].format(hand=hand))
    adverbs = SLOW if tempo < 0.9 else FAST if tempo > 1.1 else ()
    still = activity in ("sit", "stand", "lie")
    if adverbs and not still and rng.random() < 0.6:
        words.append(adverbs[rng.integers(len(adverbs))])
    return " ".join(word for word in words if word)
