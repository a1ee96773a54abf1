"""The kinds of labels that windows of Ego-Exo4D can carry."""

NARRATIONS, ACTIVITY, KEYSTEP = "narrations", "activity", "keystep"
# The first is the default.
TASKS = (NARRATIONS, ACTIVITY, KEYSTEP)
