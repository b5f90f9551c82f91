"""The texts of errors, which operators search for, and their way through a pipe."""

from __future__ import annotations

import errno
import pickle

import pytest

from culvert.errors import (
    ConfigError,
    ConfigErrors,
    ConfigWarning,
    CulvertError,
    PeerError,
    SystemRefusal,
    TlsError,
    TunnelError,
    Where,
    printable,
)

AT = Where("/etc/culvert.conf", 7)
TEXTS = [
    (ConfigError(AT, "cert", "no such file"), "/etc/culvert.conf:7: cert: no such file"),
    (
        ConfigError(AT, "acept", "there is no option of this name", "accept"),
        '/etc/culvert.conf:7: acept: there is no option of this name (did you mean "accept"?)',
    ),
    (ConfigError(AT, "", "No '=' found"), "/etc/culvert.conf:7: No '=' found"),
    (ConfigError(None, "cert", "no such file"), "cert: no such file"),
    (ConfigError(Where("conf", 0), "", "Cannot open"), "conf: Cannot open"),
    (ConfigError(AT, "a\x1b[2J", "b\nc"), r"/etc/culvert.conf:7: a\x1b[2J: b\x0ac"),
    (ConfigErrors([ConfigError(None, "a", "b"), ConfigError(None, "c", "d")]), "a: b\nc: d"),
    (
        SystemRefusal("bind 127.0.0.1:443", "Address already in use", 98),
        "bind 127.0.0.1:443: Address already in use (98)",
    ),
    (SystemRefusal("resolve host", "Name or service not known"), "resolve host: Name or service not known"),
    (
        SystemRefusal.of("open", OSError(errno.ENOENT, "No such file or directory")),
        "open: No such file or directory (2)",
    ),
    (SystemRefusal.of("open", OSError("odd")), "open: odd"),
    (TunnelError("connect", "refused"), "connect: refused"),
    (TunnelError("the daemon stops", ""), "the daemon stops"),
    (PeerError("smtp", "no greeting"), "smtp: no greeting"),
    (
        TlsError("SSL_accept", ("wrong version number", "internal error")),
        "SSL_accept: wrong version number; internal error",
    ),
    (TlsError("SSL_accept"), "SSL_accept"),
]


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda each: type(each).__name__)
def test_the_text_of_an_error(error: CulvertError, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize(("error", "text"), TEXTS, ids=lambda each: type(each).__name__)
def test_an_error_survives_a_pipe_between_processes(error: CulvertError, text: str) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == text
    assert {name: str(fact) for name, fact in vars(again).items()} == {
        name: str(fact) for name, fact in vars(error).items()
    }


def test_facts_are_attributes() -> None:
    error = ConfigError(AT, "cert", "no such file", "key")
    assert (error.at, error.option, error.reason, error.near) == (AT, "cert", "no such file", "key")
    assert TlsError("SSL_read", ("a", "b")).reasons == ("a", "b")
    assert SystemRefusal.of("open", OSError(errno.ENOENT, "none")).number == errno.ENOENT


def test_one_tunnel_and_the_whole_daemon_are_told_apart() -> None:
    assert all(issubclass(each, TunnelError) for each in (TlsError, PeerError))
    assert not any(issubclass(each, TunnelError) for each in (ConfigError, ConfigErrors, SystemRefusal))


@pytest.mark.parametrize(
    ("warning", "text"),
    [
        (
            ConfigWarning(AT, "key", "Insecure file permissions on k"),
            "/etc/culvert.conf:7: key: Insecure file permissions on k",
        ),
        (ConfigWarning(AT, "", "twice"), "/etc/culvert.conf:7: twice"),
        (ConfigWarning(None, "", "twice"), "twice"),
    ],
)
def test_the_text_of_a_warning(warning: ConfigWarning, text: str) -> None:
    assert str(warning) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("тоннель", "тоннель"),
        ("a b", "a b"),
        ("\r\n\t\0", r"\x0d\x0a\x09\x00"),
        ("\x9b31m", r"\x9b31m"),
        ("\udcff", r"\xff"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_nothing_that_moves_a_cursor_is_printed(text: str, shown: str) -> None:
    assert printable(text) == shown
