"""Sentences for the classes of Ego4D's evaluation datasets, for `zeroshot --prompts`.

python -m data_prep.ego4d.prompts scenario > scenario.json
"""

import argparse
import json
from collections.abc import Sequence

# Things a wearer does in each, as a narrator would say them; written for this project.
SCENARIO = {
    "doing carpentry": (
        "a carpenter works with wood",
        "a person saws a plank",
        "a person sands a piece of wood",
        "a person drills into wood",
        "a person hammers a nail",
        "a person measures and marks a board",
    ),
    "cleaning or doing laundry": (
        "a person cleans the house",
        "a person sweeps the floor",
        "a person wipes a table with a cloth",
        "a person washes dishes in the sink",
        "a person folds clothes",
        "a person hangs up the laundry",
    ),
    "cooking": (
        "a person cooks a meal",
        "a person cuts vegetables on a board",
        "a person stirs food in a pan",
        "a person kneads dough",
        "a person pours water into a pot",
        "a person peels an onion",
    ),
    "doing handicrafts": (
        "a person makes something by hand",
        "a person knits with yarn",
        "a person sews cloth",
        "a person draws on paper",
        "a person paints with a brush",
        "a person cuts paper with scissors",
    ),
    "eating": (
        "a person eats",
        "a person lifts food to the mouth with a spoon",
        "a person chews food",
        "a person drinks from a cup",
        "a person sits at a table and has a meal",
    ),
    "farming": (
        "a farmer works in a field",
        "a person digs the soil with a hoe",
        "a person plants seedlings",
        "a person harvests crops",
        "a person pulls out weeds",
        "a person feeds animals",
    ),
    "caring for children": (
        "a person looks after a child",
        "a person plays with a child",
        "a person carries a baby",
        "a person feeds a child",
        "a person picks up toys with a child",
    ),
    "playing a musical instrument": (
        "a person practises a musical instrument",
        "a person plays the guitar",
        "a person plays the piano",
        "a person plays the violin",
        "a person beats a drum",
        "a person turns a page of sheet music",
    ),
    "walking on a street": (
        "a person walks on a street",
        "a person walks along the pavement",
        "a person crosses a road",
        "a person walks outdoors and looks around",
        "a person walks a dog",
    ),
    "doing construction work": (
        "a builder works at a construction site",
        "a person lays bricks with mortar",
        "a person plasters a wall",
        "a person lays tiles",
        "a person mixes cement with a shovel",
        "a person repairs a pipe",
    ),
}
_HEAD = ("a person moves the head", "a person turns the head")
_SITS = ("a person sits down", "a person sits down on a chair")
_STANDS = ("a person stands up", "a person gets up from a chair")
_WALKS = ("a person walks", "a person walks around", "a person takes steps")
_AROUND = ("a person looks around", "a person turns the head and looks around")
_UP, _DOWN = ("a person looks up", "a person raises the head"), ("a person looks down",)
# The nine labels of dataset_motion_narr_2.5.csv, and the four of its published splits.
MOVEMENT = {
    "looks around": _AROUND,
    "sits down": _SITS,
    "stands up": _STANDS,
    "moves head": _HEAD,
    "looks down": (*_DOWN, "a person lowers the head"),
    "looks up": _UP,
    "walk": _WALKS,
    "cycling": ("a person rides a bicycle", "a person pedals a bike"),
    "jumping": ("a person jumps", "a person hops"),
}
MOVEMENT4 = {
    "head movement": (*_HEAD, *_AROUND, *_UP, *_DOWN),
    "stands up": _STANDS,
    "sits down": _SITS,
    "walking": _WALKS,
}
PROMPTS = {"scenario": SCENARIO, "movement": MOVEMENT, "movement4": MOVEMENT4}


def main(argv: Sequence[str] | None = None) -> None:
    """Print the prompts of one task as JSON {class: [sentence, ...]}."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("task", choices=PROMPTS)
    print(json.dumps(PROMPTS[parser.parse_args(argv).task], indent=2))


if __name__ == "__main__":
    main()
