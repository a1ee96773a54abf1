"""What the windows of Ego-Exo4D are labelled with."""

NARRATIONS, ACTIVITY, KEYSTEP = "narrations", "activity", "keystep"
# The first is the default.
TASKS = (NARRATIONS, ACTIVITY, KEYSTEP)
