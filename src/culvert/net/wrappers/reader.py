"""Judging by the two files ourselves, with the answers of libwrap: for machines without it, and for programs
in which no helper processes are started.

It keeps nothing between two requests and may judge in several threads.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Sequence

from culvert.net.wrappers.facts import PARANOID, UNKNOWN, Facts, Host, Request
from culvert.net.wrappers.tables import Rule, SpoiltOptions, Tables, find_impossible, read, split_at

_NOT_ADDRESS = re.compile(r"[^0-9./]")
_QUAD = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


class Reader:
    """Judges by these files."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def permits(self, request: Request) -> bool:
        """Whether the connection may be served; blocks, for as long as names and users are looked up.

        Raises Unsupported when a rule for this service cannot be obeyed, and OSError when a file that is
        there cannot be read.
        """
        impossible = find_impossible(self._tables, request.daemon)
        if impossible:
            raise impossible
        facts = Facts(request)
        for path, verdict in ((self._tables.allow, True), (self._tables.deny, False)):
            for rule in read(path):
                if not rule.whole:
                    if not verdict:
                        return False
                elif _matches(rule, facts):
                    return _verdict(rule, verdict)
        return True


def _verdict(rule: Rule, verdict: bool) -> bool:
    try:
        for key, value in rule.parsed_options():
            _check_value(key, value)
            if key in ("allow", "deny"):
                return key == "allow"
    except SpoiltOptions:
        return False
    return verdict


_SEVERITY = re.compile(
    r"((kern|user|mail|daemon|auth|authpriv|lpr|news|uucp|cron|ftp|local[0-7])\.)?"
    r"(emerg|alert|crit|err|warning|notice|info|debug)",
    re.IGNORECASE,
)
_VALUES = {
    "severity": _SEVERITY,
    "linger": re.compile(r"\d+"),
    "nice": re.compile(r"([+-]?\d+)?"),
    "rfc931": re.compile(r"(0*[1-9]\d*)?"),
    "umask": re.compile(r"[0-7]{1,3}"),
}


def _check_value(key: str, value: str) -> None:
    """These say nothing about who may come; a wrong value denies."""
    if key in _VALUES and not _VALUES[key].fullmatch(value):
        raise SpoiltOptions(f'bad value of option "{key}": "{value}"')


def _matches(rule: Rule, facts: Facts) -> bool:
    return _list_matches(rule.daemons, facts, _is_server) and _list_matches(rule.clients, facts, _is_client)


def _list_matches(words: Sequence[str], facts: Facts, is_it: Callable[[str, Facts], bool]) -> bool:
    """`a b EXCEPT c EXCEPT d`: (a or b) and not (c and not d)."""
    for index, word in enumerate(words):
        if word.upper() == "EXCEPT":
            return False
        if is_it(word, facts):
            rest = [each.upper() for each in words[index + 1 :]]
            if "EXCEPT" not in rest:
                return True
            exceptions = words[index + 2 + rest.index("EXCEPT") :]
            return not _list_matches(exceptions, facts, is_it)
    return False


def _is_server(word: str, facts: Facts) -> bool:
    name, host = _at(word)
    if not _is_text(name, facts.daemon) and name != str(facts.server.port):
        return False
    return host is None or _is_host(host, facts.server)


def _is_client(word: str, facts: Facts) -> bool:
    user, host = _at(word)
    if host is None:
        return _is_host(user, facts.client)
    return _is_host(host, facts.client) and _is_text(user, facts.user)


def _at(word: str) -> tuple[str, str | None]:
    """`name@host`; an @ that begins the word is part of the name."""
    before, behind = split_at(word[1:], "@")
    return word[:1] + before, behind


def _is_host(pattern: str, host: Host) -> bool:
    if pattern.startswith("/"):
        return _is_listed(pattern, host)
    if pattern.upper() == "KNOWN":
        return host.address != UNKNOWN and host.name_is_known
    if pattern.upper() == "LOCAL":
        return "." not in host.name and host.name_is_known
    network, mask = split_at(pattern, "/")
    if mask is not None:
        return _is_masked(network, mask, host.address)
    if _is_text(pattern, host.address):
        return True
    return bool(_NOT_ADDRESS.search(pattern)) and _is_text(pattern, host.name)


def _is_listed(path: str, host: Host) -> bool:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return any(_is_host(word, host) for word in file.read().split())
    except OSError:
        return False


def _is_text(pattern: str, text: str) -> bool:
    pattern, text = pattern.lower(), text.lower()
    if "*" in pattern or "?" in pattern:
        return fnmatch.fnmatchcase(text, pattern.replace("[", "[[]"))
    if pattern.startswith("."):
        return len(text) > len(pattern) and text.endswith(pattern)
    if pattern == "all":
        return True
    if pattern == "known":
        return text != UNKNOWN
    if pattern.endswith("."):
        return text.startswith(pattern)
    if pattern.startswith("[") and pattern.endswith("]"):
        return _number(pattern[1:-1]) is not None and _number(pattern[1:-1]) == _number(text)
    return pattern == text


def _number(text: str) -> int | None:
    try:
        return int(ipaddress.IPv6Address(text))
    except ValueError:
        return None


def _is_masked(network: str, mask: str, address: str) -> bool:
    if network.startswith("[") and network.endswith("]"):
        return _is_masked_ipv6(network[1:-1], mask, address)
    if not _QUAD.fullmatch(address) or not _QUAD.fullmatch(network):
        return False
    try:
        wanted, bits = int(ipaddress.IPv4Address(network)), _mask(mask)
        return int(ipaddress.IPv4Address(address)) & bits == wanted
    except ValueError:
        return False


def _mask(text: str) -> int:
    """A mask as four numbers, or its length.  Raises ValueError, also for all ones (hosts_access(5))."""
    if text == "255.255.255.255":
        raise ValueError(text)
    if _QUAD.fullmatch(text):
        return int(ipaddress.IPv4Address(text))
    length = int(text) if text.isdecimal() else 0
    if not 1 <= length <= 32:
        raise ValueError(text)
    return 0xFFFF_FFFF << 32 - length & 0xFFFF_FFFF


def _is_masked_ipv6(network: str, mask: str, address: str) -> bool:
    wanted, ours = _number(network), _number(address)
    digits = re.match(r"[0-9]*", mask)
    length = int(digits.group() or 0) if digits else 0  # as C reads a number: what is none is 0
    if wanted is None or ours is None or length > 128:
        return False
    unset = 128 - length
    return wanted >> unset == ours >> unset


__all__ = ["PARANOID", "UNKNOWN", "Reader"]
