"""The daemon's set of sinks: first a backlog, then what the configuration asks for, and its change at a
reload."""

from __future__ import annotations

import logging
import socket
from collections.abc import Sequence

from culvert.config.model import GlobalOptions
from culvert.errors import SystemRefusal
from culvert.observe.log import ERR, LOGGER, Log
from culvert.observe.sinks import Backlog, LogFile, Stderr, Syslog, reach_syslog


class Outlet:
    """Owns the sinks of this process.

    log: the daemon's own log, the ancestor of every connection's; its level is 7 until `use`.
    """

    def __init__(self) -> None:
        self.log = Log("ui")
        self.backlog = Backlog()
        self._sinks: list[logging.Handler] = []
        self._overwrite = False
        self._kept_syslog: socket.socket | None = None
        LOGGER.setLevel(1)  # Log.level decides
        LOGGER.propagate = False
        LOGGER.addHandler(self.backlog)

    def prepare(self, options: GlobalOptions) -> list[logging.Handler]:
        """Open the sinks of a configuration without using them yet.

        Raises SystemRefusal when the output file cannot be opened.
        """
        sinks: list[logging.Handler] = []
        if options.output is not None:
            sinks.append(LogFile(options.output))
        if options.syslog:
            sinks.append(Syslog(options.facility, options.service, kept=self._kept_syslog))
        if options.foreground == "yes":
            sinks.append(Stderr())
        return sinks

    def keep_syslog(self) -> None:
        """Hold on to the syslog server, which may be out of reach once the root directory has changed."""
        if self._kept_syslog is None:
            self._kept_syslog = reach_syslog()

    def use(self, options: GlobalOptions, sinks: list[logging.Handler]) -> list[logging.Handler]:
        """Write to these sinks from now on, first what has waited.

        Returns the sinks before them, still open, so that a reload that fails can go back to them.
        """
        self._overwrite = options.log == "overwrite"
        old, self._sinks = self._sinks, sinks
        for sink in old:
            LOGGER.removeHandler(sink)
        for sink in sinks:
            LOGGER.addHandler(sink)
        LOGGER.removeHandler(self.backlog)
        self.log.level = options.debug
        self.backlog.replay(sinks, options.debug)
        return old

    def begin_file(self) -> None:
        """Empty the output file if it is to be overwritten; for the process that starts the daemon."""
        if self._overwrite:
            for sink in self._sinks:
                if isinstance(sink, LogFile):
                    sink.truncate()

    def reopen(self, *, may_truncate: bool) -> bool:
        """Open the output file anew, after a rename.

        may_truncate: this process begins an overwritten file; the others of the daemon only append to it.
        Returns whether there is a file that was reopened; a failure is logged and the old file stays.
        """
        files = [sink for sink in self._sinks if isinstance(sink, LogFile)]
        try:
            for file in files:
                file.reopen()
        except SystemRefusal as refusal:
            self.log.write(ERR, str(refusal))
            return False
        if may_truncate:
            self.begin_file()
        return bool(files)

    def close(self) -> None:
        """Close every sink; lines written later are lost."""
        LOGGER.removeHandler(self.backlog)
        for sink in self._sinks:
            LOGGER.removeHandler(sink)
        discard(self._sinks)
        self._sinks = []
        if self._kept_syslog is not None:
            self._kept_syslog.close()
            self._kept_syslog = None


def discard(sinks: Sequence[logging.Handler]) -> None:
    """Close sinks that nobody writes to."""
    for sink in sinks:
        sink.close()
