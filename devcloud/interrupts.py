# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and its like: one exception, which does not get lost.

Python drops an exception that a signal's handler raises in the wrong moment:
while a fork runs its callbacks, or an object its finaliser ("Exception
ignored in ..."). So no signal is let in during a fork, and what has come in
is remembered and can be asked for.
"""

import contextlib
import signal
from collections.abc import Iterator
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_received: list[int] = []


def install() -> None:
    """From now on each of the signals raises KeyboardInterrupt."""
    for number in SIGNALS:
        # nohup, or a shell that runs us in the background, wants it ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def check() -> None:
    """Raise KeyboardInterrupt if a signal has come whose own got lost."""
    if _received:
        raise KeyboardInterrupt


def ignore() -> None:
    """From now on none of the signals does anything."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Signals wait until this is over."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def reset_after_fork() -> None:
    """Have the signals end this new process, as they end any other."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _raise(number: int, frame: object) -> NoReturn:
    _received.append(number)
    raise KeyboardInterrupt
