"""The stretches of a recording that are most like a given one."""
