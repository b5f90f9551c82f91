"""The types of values: text of the file -> plain Python, or BadValue with the reason.

One function per type, not per option.  Numbers are C's: decimal, optional sign, nothing behind; keywords
match in any case.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_NUMBER = re.compile(r"[ \t]*[+-]?[0-9]{1,18}")
_HEX_BYTES = re.compile(r"(?:[0-9A-Fa-f]{2}:?)*")
UNIX_PATH_MAX = 107  # bytes of sun_path without the terminating zero, unix(7)


class BadValue(ValueError):
    """The text is not a value of its type.  near: a value that may have been meant."""

    def __init__(self, reason: str, near: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.near = reason, near


def nearest(word: str, words: Iterable[str], cutoff: float = 0.7) -> str | None:
    """The word of `words` that looks most like `word` in any case, or None when none does."""
    import difflib  # only files with a mistake pay for the import

    known = {each.lower(): each for each in words}
    found = difflib.get_close_matches(word[:64].lower(), known, n=1, cutoff=cutoff)
    return known[found[0]] if found else None


def render(value: object) -> str:
    """A value in the file's own notation; empty for what is not set."""
    if value is None or value == () or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return str(value)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value: how the manual writes it, how it is read, how it is shown."""

    shown: str
    parse: Callable[[str], Any]
    render: Callable[[Any], str] = render
    words: tuple[str, ...] = ()  # the values, where there are only a few


def _keywords(shown: str, words: dict[str, Any], reason: Callable[[str], str]) -> Kind:
    folded = {word.lower(): value for word, value in words.items()}

    def parse(text: str) -> Any:
        try:
            return folded[text.lower()]
        except KeyError:
            raise BadValue(reason(text), nearest(text, words)) from None

    return Kind(shown, parse, words=tuple(words))


def choice(*words: str, reason: str = "", **synonyms: str) -> Kind:
    """One of a few words in any case; the value is the word as spelt here.  synonyms: other=word."""
    listed = " or ".join([", ".join(f"'{each}'" for each in words[:-1]), f"'{words[-1]}'"])
    said = reason or f"The argument needs to be {'either ' if len(words) == 2 else ''}{listed}"
    table = {word: word for word in words} | synonyms
    return _keywords(" | ".join(words), table, lambda _text: said)


YES_NO = _keywords(
    "yes | no", {"yes": True, "no": False}, lambda _text: "The argument needs to be either 'yes' or 'no'"
)


def whole(text: str, reason: str, low: int | None = None, high: int | None = None) -> int:
    """A decimal number within bounds, both included."""
    if not _NUMBER.fullmatch(text):
        raise BadValue(reason)
    number = int(text)
    if (low is not None and number < low) or (high is not None and number > high):
        raise BadValue(f"{reason}: {_bounds(low, high)}")
    return number


def _bounds(low: int | None, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} to {high}"


def number(reason: str, low: int | None = None, high: int | None = None) -> Kind:
    """A decimal number; `reason` is said when it is none."""
    shown = "number" if low is None and high is None else f"number, {_bounds(low, high)}"
    return Kind(shown, lambda text: whole(text, reason, low, high))


def seconds(reason: str) -> Kind:
    """Whole seconds as a float; a negative number means for ever and is None."""

    def parse(text: str) -> float | None:
        count = whole(text, reason, high=10**9)
        return None if count < 0 else float(count)

    return Kind("seconds; negative: for ever", parse)


def _text(text: str) -> str:
    return text


def _some_text(text: str) -> str:
    if not text:
        raise BadValue("a value is needed")
    return text


def _words(text: str) -> tuple[str, ...]:
    """Words as a shell splits them: quotes hold blanks, a backslash takes the next character as it is."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise BadValue(f"cannot be split into words: {error}") from None


TEXT = Kind("text", _text)
SOME_TEXT = Kind("text", _some_text)
FILE = Kind("file", _some_text)
DIRECTORY = Kind("directory", _some_text)
FILE_OR_NONE = Kind("file; empty: none", lambda text: text or None)
DIRECTORY_OR_NONE = Kind("directory; empty: none", lambda text: text or None)
WORDS = Kind("words, quoted as in a shell", _words, shlex.join)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or to connect: a Unix socket, or a port with or without a host.

    host: a name, IPv4 or IPv6 text; None means every own address (accept) or loopback (connect).
    port: a number or the name of a service, None with a path.
    path: an absolute path, or `@name` for a name of Linux' abstract kind (unix(7)).
    """

    host: str | None = None
    port: str | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """`PORT`, `HOST:PORT` split at the last colon, `[HOST]:PORT`, `/path`, `@name`.  Raises BadValue."""
        if text.startswith(("/", "@")):
            return cls(path=_unix_path(text))
        host, colon, port = text.rpartition(":")
        if not colon:
            return cls(port=_port(text))
        return cls(host=_host(host, text), port=_port(port))

    @property
    def is_abstract(self) -> bool:
        """Whether it is a Unix socket without a path."""
        return self.path is not None and self.path.startswith("@")

    @property
    def text(self) -> str:
        """As the file would have it."""
        if self.path is not None:
            return self.path
        return f"{self.host}:{self.port}" if self.host is not None else f"{self.port}"

    def __str__(self) -> str:
        return self.text


def _unix_path(text: str) -> str:
    if text == "@":
        raise BadValue("a name is needed behind the @")
    if len(text.encode("utf-8", "surrogateescape")) > UNIX_PATH_MAX:
        raise BadValue("Unix socket path is too long")
    return text


def _host(host: str, text: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host.strip(":") and host != "::":
        raise BadValue(f'no host in "{text}": write host:port, or only the port')
    if any(each.isspace() for each in host):
        raise BadValue(f'a blank in the host name "{host}"')
    return host


def _port(port: str) -> str:
    if not port:
        raise BadValue("a port is needed")
    if port.isascii() and port.lstrip("+-").isdigit():
        whole(port, f'no TCP port "{port}"', 0, 65535)
    elif any(each.isspace() or each == "/" for each in port):
        raise BadValue(f'Unknown TCP service "{port}"')
    return port


ADDRESS = Kind("port | host:port | /path | @name", Address.parse)


def _ip(text: str) -> str:
    import ipaddress  # only files that use it pay for the import

    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise BadValue("not an IP address") from None
    return text


IP = Kind("IP address", _ip)


def secret_bytes(name: str) -> Kind:
    """16 or 32 bytes in hexadecimal, colons between bytes optional."""

    def parse(text: str) -> bytes:
        if not _HEX_BYTES.fullmatch(text) or not text or text.endswith(":"):
            raise BadValue(f"Required {name} is 16 or 32 byte hexadecimal key")
        value = bytes.fromhex(text.replace(":", ""))
        if len(value) not in (16, 32):
            raise BadValue(f"{name} value has {len(value)} bytes instead of required 16 or 32 bytes")
        return value

    return Kind("16 or 32 bytes in hexadecimal", parse, lambda value: "(secret)" if value else "")


def unique(values: Iterable[Any]) -> tuple[Any, ...]:
    """The values without repetitions, in their order."""
    return tuple(dict.fromkeys(values))
