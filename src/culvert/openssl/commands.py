"""Commands in words for a context (SSL_CONF_cmd(3)), as a configuration file of OpenSSL has them."""

from __future__ import annotations

from culvert.errors import TlsError
from culvert.openssl._errors import begin, check, check_pointer, take_reasons
from culvert.openssl._lib import ffi, lib
from culvert.openssl.context import Context

_GROUPS = ("groups", "curves")
_UNKNOWN, _NO_PARAMETER = -2, -3  # SSL_CONF_cmd(3), RETURN VALUES


class Commands:
    """Gives commands to one context; `finish` when all are given."""

    __slots__ = ("_commands", "_context")

    def __init__(self, context: Context) -> None:
        made = check_pointer(lib.SSL_CONF_CTX_new(), "allocate memory")
        self._commands = ffi.gc(made, lib.SSL_CONF_CTX_free)
        self._context = context
        role = lib.SSL_CONF_FLAG_SERVER if context.server else lib.SSL_CONF_FLAG_CLIENT
        more = lib.SSL_CONF_FLAG_CERTIFICATE | lib.SSL_CONF_FLAG_SHOW_ERRORS
        lib.SSL_CONF_CTX_set_flags(self._commands, lib.SSL_CONF_FLAG_FILE | role | more)
        lib.culvert_never_ask(context._ctx)
        lib.SSL_CONF_CTX_set_ssl_ctx(self._commands, context._ctx)

    def give(self, name: str, parameter: str | None) -> None:
        """Carry out one command.  Raises TlsError, which says why not."""
        begin()
        given = ffi.NULL if parameter is None else ffi.new("char[]", _raw(parameter))
        done = lib.SSL_CONF_cmd(self._commands, ffi.new("char[]", _raw(name)), given)
        if done == _UNKNOWN:
            take_reasons()
            raise TlsError("execute a command", (f'OpenSSL config command "{name}" was not recognised',))
        if done == _NO_PARAMETER:
            take_reasons()
            raise TlsError("execute a command", (f'OpenSSL config command "{name}" requires a parameter',))
        check(done, "execute a command")
        if name.lower() in _GROUPS and parameter is not None:
            self._context.groups = parameter

    def finish(self) -> None:
        """Do what could only be done when all commands are known.  Raises TlsError."""
        begin()
        check(lib.SSL_CONF_CTX_finish(self._commands), "finish the commands")


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
