"""What became of a process, in the words of the log."""

from __future__ import annotations

import os
import signal


def fate(status: int) -> str:
    """Of a wait status (os.wait): `finished with code 1`, `terminated on SIGKILL`."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"terminated on {signal.Signals(number).name}"
        except ValueError:  # a real-time signal
            return f"terminated on signal {number}"
    return f"finished with code {os.waitstatus_to_exitcode(status)}"
