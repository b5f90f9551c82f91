"""Options of the whole daemon: they stand before the first section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from culvert.config.options import WINDOWS, Merge, Option, option
from culvert.config.table.levels import DEBUG, DebugLevel, group_of, user_of
from culvert.config.values import (
    DIRECTORY,
    FILE,
    FILE_OR_NONE,
    SOME_TEXT,
    YES_NO,
    BadValue,
    Kind,
    choice,
    nearest,
    number,
    seconds,
    whole,
)

_ENGINE_PARTS = (
    *("ALL", "RSA", "DSA", "ECDH", "ECDSA", "DH", "RAND", "CIPHERS", "DIGESTS"),
    *("PKEY", "PKEY_CRYPTO", "PKEY_ASN1"),
)


def _workers(text: str) -> int | None:
    return None if text.lower() == "auto" else whole(text, "Illegal number of workers", 1, 1024)


def _facility(value: DebugLevel) -> Mapping[str, object]:
    named = {"facility": value.facility} if value.facility else {}
    return {"debug": value.level} | named


def _engine_parts(text: str) -> str:
    for part in text.split(","):
        if part.strip().upper() not in _ENGINE_PARTS:
            raise BadValue(f'"{part.strip()}" is no part of an engine', nearest(part, _ENGINE_PARTS))
    return text


def _assignment(reason: str, separators: str) -> Kind:
    def parse(text: str) -> str:
        rest = text
        for separator in separators:
            before, found, rest = rest.partition(separator)
            if not before or not found:
                raise BadValue(reason)
        return text

    return Kind("PROV:NAME=VALUE" if ":" in separators else "NAME=VALUE", parse)


def _environment(text: str) -> str:
    if not text or text.startswith("="):
        raise BadValue("the name of a variable is needed")
    return text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Process:
    """How the daemon runs and where it writes."""

    workers: int | None = option(
        "workers",
        Kind("auto | number, 1 to 1024", _workers, lambda value: str(value or "auto")),
        None,
        "How many processes carry the tunnels; auto: one for each processor.",
        since="Culvert",
        reloadable=True,
        daemon_only=True,
    )
    foreground: str = option(
        "foreground",
        choice("yes", "quiet", "no"),
        "no",
        "Stay in the foreground; yes also logs to standard error.",
        reload_limit="a change from or to `no` needs a restart",
        daemon_only=True,
    )
    pid: str | None = option(
        "pid", FILE_OR_NONE, None, "Write the number of the process here.", reloadable=False, daemon_only=True
    )
    watch: bool = option(
        "watch",
        YES_NO,
        False,
        "Load certificates, keys, authorities and revocation lists again when their files change.",
        since="Culvert",
        daemon_only=True,
    )
    quarantine: bool = option(
        "quarantine",
        YES_NO,
        False,
        "Let the other services serve when the files, names or addresses of one do not work.",
        since="Culvert",
        daemon_only=True,
    )
    ready_file: str | None = option(
        "readyFile",
        FILE_OR_NONE,
        None,
        "A file that is there for as long as connections are accepted.",
        since="Culvert",
        daemon_only=True,
    )
    exit_when_idle: float | None = option(
        "exitWhenIdle",
        seconds("Illegal number of seconds"),
        None,
        "End after so long without a connection.",
        unit="s",
        shown="never",
        since="Culvert",
        daemon_only=True,
    )
    chroot: str | None = option(
        "chroot",
        DIRECTORY,
        None,
        "Make this directory the root of the daemon, after the ports were opened.",
        reloadable=False,
        daemon_only=True,
    )
    setuid: str | None = option(
        "setuid",
        Kind("user", user_of),
        None,
        "Run as this user after the ports were opened.",
        reloadable=False,
        daemon_only=True,
    )
    setgid: str | None = option(
        "setgid",
        Kind("group", group_of),
        None,
        "Run as this group, and in no other, after the ports were opened.",
        reloadable=False,
        daemon_only=True,
    )
    debug: int = option(
        "debug",
        DEBUG,
        5,
        "The least important messages that are logged, and the facility of syslog they go to.",
        also=_facility,
        shown="daemon.notice",
    )
    facility: str = "daemon"  # set by `debug`
    log: str = option(
        "log",
        choice("append", "overwrite"),
        "append",
        "What happens to an `output` file that is there already.",
        since="5.00",
        daemon_only=True,
    )
    output: str | None = option("output", FILE, None, "Write the log to this file.", daemon_only=True)
    syslog: bool = option("syslog", YES_NO, True, "Write the log to syslog.", daemon_only=True)
    service: str = option(
        "service",
        SOME_TEXT,
        "stunnel",
        "The name of the program in syslog, and of the service without sections.",
        daemon_only=True,
    )
    set_env: tuple[str, ...] = option(
        "setEnv",
        Kind("NAME=VALUE", _environment),
        (),
        "Set a variable of the daemon's environment, or remove it.",
        merge=Merge.JOIN,
        since="5.75",
        reload_limit="a variable stays set when its line is gone",
        act=True,
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Library:
    """Options of the TLS library as a whole."""

    fips: bool = option(
        "fips",
        YES_NO,
        False,
        "Use algorithms that FIPS approves only: those of OpenSSL's FIPS provider.",
        shown="no, or as the system's OpenSSL is set",
    )
    compression: str | None = option(
        "compression",
        choice(
            "deflate", "zlib", "rle", "zstd", "brotli", reason="Specified compression type is not available"
        ),
        None,
        "Compress inside TLS 1.2 and older, where OpenSSL was built with it and `securityLevel` is 0 or 1.",
    )
    engine: tuple[str, ...] = option(
        "engine",
        SOME_TEXT,
        (),
        "Load an engine of OpenSSL by its id; auto: all that work here.",
        merge=Merge.JOIN,
        reload_limit="only by adding engines; any other change is refused",
        act=True,
    )
    engine_ctrl: tuple[str, ...] = option(
        "engineCtrl",
        SOME_TEXT,
        (),
        "A command for the last engine, CMD[:ARG]; INIT starts it.",
        merge=Merge.JOIN,
        reload_limit="only by adding engines; any other change is refused",
        act=True,
        secret=True,
    )
    engine_default: tuple[str, ...] = option(
        "engineDefault",
        Kind("list of " + ",".join(_ENGINE_PARTS), _engine_parts),
        (),
        "What the last engine is used for wherever nothing else is said.",
        merge=Merge.JOIN,
        since="5.00",
        reloadable=False,
        act=True,
    )
    provider: tuple[str, ...] = option(
        "provider",
        SOME_TEXT,
        (),
        "Load a provider of OpenSSL, beside those that are loaded anyway.",
        merge=Merge.JOIN,
        since="5.75",
        reload_limit="one that was loaded stays loaded",
        act=True,
    )
    provider_parameter: tuple[str, ...] = option(
        "providerParameter",
        _assignment("Malformed parameter", ":="),
        (),
        "A parameter of a provider; OpenSSL 3.5 and later.",
        merge=Merge.JOIN,
        since="5.75",
        act=True,
    )
    egd: str | None = option(
        "EGD",
        FILE,
        None,
        "The Unix socket of an entropy gathering daemon to mix random numbers in from.",
        daemon_only=True,
    )
    rnd_bytes: int = option(
        "RNDbytes",
        number("Illegal number of bytes to read from random seed files", 0, 1 << 20),
        1024,
        "How much of a seed file is read.",
        unit="bytes",
        daemon_only=True,
    )
    rnd_file: str | None = option(
        "RNDfile",
        FILE,
        None,
        "A file to mix random numbers in from, beside those of the kernel.",
        daemon_only=True,
    )
    rnd_overwrite: bool = option(
        "RNDoverwrite",
        YES_NO,
        True,
        "Write new random data to the seed file, if it is a regular file.",
        daemon_only=True,
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Windows:
    """What only the Windows program has."""

    icon_active: str | None = option(
        "iconActive", FILE, None, "The icon while connections are open.", since="5.00", missing=WINDOWS
    )
    icon_error: str | None = option(
        "iconError", FILE, None, "The icon after an error.", since="5.00", missing=WINDOWS
    )
    icon_idle: str | None = option(
        "iconIdle", FILE, None, "The icon while nothing happens.", since="5.00", missing=WINDOWS
    )
    taskbar: bool = option(
        "taskbar", YES_NO, True, "Show an icon in the task bar.", missing=WINDOWS, neutral=(False,)
    )


# Not a value but an act: the reader obeys it where it stands, in the global part and in sections.
INCLUDE = Option(
    name="include",
    kind=DIRECTORY,
    default=None,
    since="5.18",
    help="Read all files of a directory, in the order of their names, as if they stood here.",
    merge=Merge.JOIN,
)
