"""The system's libwrap, loaded when it is asked for.

It keeps its state in global variables and leaves hosts_access() by longjmp(3): one thread of a process may
use it, and it blocks while names and users are looked up.  So it runs in helper processes only.
"""

from __future__ import annotations

import ctypes
from typing import Final

from culvert.net.wrappers import tables
from culvert.net.wrappers.facts import Request
from culvert.net.wrappers.tables import Tables, Unsupported

NAME: Final = "libwrap.so.0"

# tcpd.h: the keys of request_init(3)
_DAEMON: Final = 2
_USER: Final = 3
_CLIENT_NAME: Final = 4
_CLIENT_SIN: Final = 6
_SERVER_SIN: Final = 9

_STRING: Final = 128  # STRING_LENGTH


class _HostInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * _STRING),
        ("addr", ctypes.c_char * _STRING),
        ("sin", ctypes.c_void_p),
        ("unit", ctypes.c_void_p),
        ("request", ctypes.c_void_p),
    )


class _RequestInfo(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_int),
        ("user", ctypes.c_char * _STRING),
        ("daemon", ctypes.c_char * _STRING),
        ("pid", ctypes.c_char * 10),
        ("client", _HostInfo),
        ("server", _HostInfo),
        ("sink", ctypes.c_void_p),
        ("hostname", ctypes.c_void_p),
        ("hostaddr", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("config", ctypes.c_void_p),
    )


class Library:
    """Judges by these files.  Raises OSError where there is no libwrap."""

    def __init__(self, files: Tables) -> None:
        self._files = files
        self._library = library = ctypes.CDLL(NAME)
        self._paths = [path.encode("utf-8", "surrogateescape") for path in files]
        for variable, path in zip(("hosts_allow_table", "hosts_deny_table"), self._paths, strict=True):
            ctypes.c_char_p.in_dll(library, variable).value = path
        # A resident process is not replaced by what a rule starts; a dry run starts nothing.
        ctypes.c_int.in_dll(library, "resident").value = 1
        self._dry_run = ctypes.c_int.in_dll(library, "dry_run")
        self._stamp: object = None
        self._impossible: dict[str, Unsupported | None] = {}

    def permits(self, request: Request) -> bool:
        """As Reader.permits."""
        impossible = self._find_impossible(request.daemon)
        if impossible:
            raise impossible
        self._dry_run.value = 1
        client, server = (ctypes.create_string_buffer(each, 128) for each in (request.client, request.server))
        info = _RequestInfo()
        arguments: list[object] = [_DAEMON, request.daemon.encode("utf-8", "surrogateescape")]
        for key, text in ((_USER, request.user), (_CLIENT_NAME, request.client_name)):
            if text is not None:
                arguments += [key, text.encode()]
        arguments += [_CLIENT_SIN, client, _SERVER_SIN, server, 0]
        self._library.request_init(ctypes.byref(info), *arguments)
        info.hostname = ctypes.cast(self._library.sock_hostname, ctypes.c_void_p).value
        info.hostaddr = ctypes.cast(self._library.sock_hostaddr, ctypes.c_void_p).value
        return bool(self._library.hosts_access(ctypes.byref(info)))

    def _find_impossible(self, daemon: str) -> Unsupported | None:
        now = tables.stamp(self._files)
        if now != self._stamp:
            self._stamp, self._impossible = now, {}
        if daemon not in self._impossible:
            self._impossible[daemon] = tables.find_impossible(self._files, daemon)
        return self._impossible[daemon]
