"""The one exception that is meant for people."""


class PrimusError(ValueError):
    """A mistake the user can repair: what was wrong, where, what was expected, what to do next.

    The command line prints its message without a traceback and exits with status 2.
    """
