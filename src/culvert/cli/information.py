"""What `-help`, `-version`, `-sockets` and `-options` print: stunnel's shape, our facts.

Every text ends with a newline and is meant for standard error, where the original writes it.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable, Iterator

from culvert import __version__
from culvert.config.model import GLOBAL, SERVICE, SERVICE_NAMES
from culvert.config.options import Option
from culvert.config.sockets import DEFAULTS
from culvert.config.tlsnames import OPTION_NAMES

_NAME_WIDTH = 22  # scripts cut the lines there
_UNITS = {"s": "seconds", "ms": "milliseconds"}
_SOCKET_RULE = "    --------------------+----------+----------+----------+----------"


def banner() -> tuple[str, ...]:
    """The lines that name this program and its OpenSSL, as a start of the daemon logs them."""
    from culvert.openssl import _lib as library  # the compiled module: not for `-help`

    compiled = library.COMPILED_NUMBER
    lines = [f"culvert {__version__} on {platform.machine()}-{sys.platform} platform"]
    if compiled >> 4 == library.VERSION_NUMBER >> 4:
        lines.append(f"Compiled/running with {library.VERSION}")
    else:
        numbers = f"{compiled >> 28}.{compiled >> 20 & 0xFF}.{compiled >> 4 & 0xFFFF}"
        lines += [f"Compiled with OpenSSL {numbers}", f"Running  with {library.VERSION}"]
    python = platform.python_version()
    auth = " Auth:LIBWRAP" if SERVICE_NAMES["libwrap"].available else ""
    lines.append(
        f"Threading:EVENTS Sockets:EPOLL,IPv6,SYSTEMD TLS:{','.join(_features())}{auth} Python:{python}"
    )
    return tuple(lines)


def _features() -> Iterator[str]:
    """What stunnel names, as far as it is here: in the table of options, and in this OpenSSL."""
    from culvert.openssl.library import HAS_ENGINES, has_fips

    here = {
        "DTLS": SERVICE_NAMES["transport"].available,
        "ENGINE": HAS_ENGINES,
        "FIPS": has_fips(),
        "OCSP": SERVICE_NAMES["ocsp"].available,
        "PSK": SERVICE_NAMES["psksecrets"].available,
        "SNI": True,
    }
    return (name for name, there in here.items() if there)


def help_text() -> str:
    """One line for each option: its name and what it is for."""
    return _by_scope(lambda option: (option.help + ("" if option.available else " (not available)"),))


def version_text() -> str:
    """The banner, and the options that are worth something when they are not given."""
    return "\n".join(banner()) + "\n" + _by_scope(_defaults)


def _defaults(option: Option) -> Iterator[str]:
    if option.name == "options":
        yield from (str(each) for each in option.shown.split(", "))
    elif option.default_text and option.name != "socket":
        unit = _UNITS.get(option.unit, option.unit)
        numeric = option.default_text.isdigit()
        yield f"{option.default_text} {unit}" if unit and numeric else option.default_text


def _by_scope(values: Callable[[Option], Iterable[str]]) -> str:
    lines: list[str] = []
    for heading, table in (("Global options:", GLOBAL), ("Service-level options:", SERVICE)):
        lines += [" ", heading]
        for option in sorted(table, key=lambda each: each.name.lower()):
            lines += [f"{option.name:<{_NAME_WIDTH}} = {each}" for each in values(option)]
    return "\n".join(lines) + "\n"


def sockets_text() -> str:
    """Socket options: what listening, accepted and connected sockets get, and what the system gives."""
    from culvert.net.sockets import rows

    lines = [
        " ",
        "Socket option defaults:",
        "    Option Name         |  Accept  |   Local  |  Remote  |OS default",
        _SOCKET_RULE,
    ]
    for row in rows(DEFAULTS):
        ours = "|".join(
            f"{each:>10}" if each else "    --    " for each in (row.accept, row.local, row.remote)
        )
        lines.append(f"    {row.name:<20}|{ours}|{row.system:>10}")
    return "\n".join(lines) + "\n"


def options_text() -> str:
    """The names that `options` takes, as far as this OpenSSL has them."""
    from culvert.openssl import _lib as library

    names = [f"options = {name}" for name in OPTION_NAMES if name in library.OPTIONS]
    return "\n".join([" ", "Supported TLS options:", *names]) + "\n"
