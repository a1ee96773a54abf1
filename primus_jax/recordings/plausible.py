"""What a sensor worn by a person can read, and the names of what it cannot."""

NOT_GRAVITY = "recordings whose median acceleration is not 0.3 to 3 g"
