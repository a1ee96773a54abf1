"""SIGTERM and SIGINT become a request to stop after the step in progress."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# EX_TEMPFAIL: saved, not finished; the same command goes on. Schedulers requeue on it.
EXIT_INTERRUPTED = 75


class StopRequest:
    """`is_set` once a signal came, and its `name`."""

    is_set = False
    name = ""


@contextlib.contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Catch SIGTERM and SIGINT; a second Ctrl-C acts as usual.

    Schedulers repeat SIGTERM while they wait, so it remains a request. Outside the main thread
    nothing is caught: signals belong to whoever owns it.
    """
    stop = StopRequest()

    def request(number: int, frame: FrameType | None) -> None:
        stop.is_set, stop.name = True, signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    try:
        before = {n: signal.signal(n, request) for n in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
