"""TCP wrappers: hosts.allow and hosts.deny (hosts_access(5), hosts_options(5)).

``tables`` reads the files, ``reader`` judges by them, ``library`` lets the system's libwrap judge, and
``asking`` keeps the processes in which it does.
"""

from __future__ import annotations

from culvert.errors import CulvertError


class Impossible(CulvertError):
    """The tables cannot be obeyed, or not be read: the connection is refused, and why."""
