"""The eight activities of PRIMUS's evaluation on Ego-Exo4D, and sentences for each."""

import zlib

# What marks an activity in the parent task, else in the take's name, else in the task; first wins.
# PRIMUS looks for such words in the take's name alone.
MARKS = {
    "taking a COVID-19 test": ("covid",),
    "performing CPR": ("cpr",),
    "repairing a bike": ("bike",),
    "climbing": ("climb", "boulder"),
    "playing ball sports": ("basketball", "soccer"),
    "cooking": ("cook",),
    "dancing": ("danc",),
    "playing music": ("music", "piano", "guitar", "violin"),
}
# Sentences of this project; their mean embedding stands for the class (PRIMUS has five to eight).
PROMPTS = {
    "taking a COVID-19 test": (
        "a person is taking a COVID-19 test",
        "swabs the nose and puts drops on a test strip",
        "a seated person handles a small medical test kit",
        "unpacks a rapid antigen test on a table",
        "someone stirs a swab in a test tube and waits",
    ),
    "performing CPR": (
        "a person is performing CPR",
        "kneels and pushes rhythmically on a chest with both hands",
        "does chest compressions on a manikin",
        "gives first aid on the floor with fast regular pushes",
        "leans over a dummy and tilts its head for a rescue breath",
    ),
    "repairing a bike": (
        "a person is repairing a bike",
        "removes a bicycle wheel and changes the tube",
        "pumps up a tire",
        "cleans and oils a bicycle chain",
        "a mechanic turns a wrench, bending over a bicycle",
    ),
    "climbing": (
        "a person is climbing",
        "climbs a bouldering wall",
        "reaches for a hold and pulls up",
        "hangs on a wall and looks up for the next hold",
        "jumps down from a climbing wall onto a mat",
    ),
    "playing ball sports": (
        "a person is playing ball sports",
        "dribbles and shoots a basketball",
        "runs and kicks a soccer ball",
        "juggles a ball with the feet",
        "jumps and throws a ball at the hoop",
    ),
    "cooking": (
        "a person is cooking",
        "cuts vegetables on a chopping board",
        "stirs food in a pan on the stove",
        "walks around a kitchen and fetches ingredients",
        "washes dishes in a kitchen sink",
    ),
    "dancing": (
        "a person is dancing",
        "steps and turns to the rhythm of music",
        "swings the arms and hips in a choreography",
        "spins around and jumps in a dance",
        "practises dance steps in a studio",
    ),
    "playing music": (
        "a person is playing music",
        "sits still and plays the piano",
        "strums a guitar",
        "bows a violin",
        "practises scales on an instrument and reads sheet music",
    ),
}


def activity_of(descriptions: tuple[str, str, str]) -> str:
    """The activity of a take by its parent task, name and task, or "" if none is marked."""
    for description in descriptions:
        lower = description.casefold()
        for activity, marks in MARKS.items():
            if any(mark in lower for mark in marks):
                return activity
    return ""


def prompt_of(activity: str, uid: str) -> str:
    """One of the activity's sentences: always the same for a take, spread evenly over takes."""
    sentences = PROMPTS[activity]
    return sentences[zlib.crc32(uid.encode()) % len(sentences)]
