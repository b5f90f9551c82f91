"""Server names that a section handles for another one, and that no client will ever ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from culvert.config.draft import Draft
from culvert.config.model import Service
from culvert.config.sockets import DEFAULTS
from culvert.errors import ConfigWarning, printable

_LONGEST = 255  # octets

# Sessions are kept, and tickets sealed, by the section that accepts the connection.
_OF_THE_FIRST = {
    "session_cache_size": "sessionCacheSize",
    "session_cache_timeout": "sessionCacheTimeout",
    "sessiond": "sessiond",
    "ticket_key_secret": "ticketKeySecret",
    "ticket_mac_secret": "ticketMacSecret",
    "ticket_rotation": "ticketRotation",
}


def doubts_about_names(services: Sequence[Service], drafts: Sequence[Draft]) -> Iterator[ConfigWarning]:
    """Warnings about all `sni` lines of server sections."""
    patterns: dict[tuple[str, str], str] = {}
    for service, draft in zip(services, drafts, strict=True):
        if not service.sni or service.client:
            continue
        for number, line in enumerate(service.sni):
            section, _, pattern = line.partition(":")
            reason = _doubt(pattern)
            first = patterns.setdefault((section, pattern.lower()), service.name)
            if first != service.name:
                reason = f"never reached: [{first}] handles {pattern} already"
            if reason:
                yield ConfigWarning(service.where_value("sni", number), "sni", printable(reason))
        for attribute in draft.own & _OF_THE_FIRST.keys():
            reason = f"has no effect in [{service.name}]: the section that accepts decides about it"
            yield ConfigWarning(service.where(attribute), _OF_THE_FIRST[attribute], printable(reason))
        if "socket" in draft.own and (vain := _of_near_sockets(service)):
            reason = f"{vain} has no effect in [{service.name}]: the section that accepts decides about it"
            yield ConfigWarning(service.where("socket"), "socket", printable(reason))


def _of_near_sockets(service: Service) -> str:
    """The first of its socket options that is none of the dialled socket."""
    vain = (each for each in service.socket if each.slot != "r" and each not in DEFAULTS)
    return next((f"{each.slot}:{each.name}" for each in vain), "")


def _doubt(pattern: str) -> str:
    """Why no name of a client can be like that (RFC 6066, 3); empty when some can."""
    if "*" in pattern[1:]:
        return f"only a * at the start of {pattern} stands for something"
    if pattern.endswith(".") and len(pattern) > 1:
        return f"clients send names without the dot at the end of {pattern}"
    if not pattern.isascii():
        bare = pattern.lstrip("*.")
        try:
            encoded = pattern.removesuffix(bare) + bare.encode("idna").decode()
        except UnicodeError:
            return f"clients send names in ASCII, and {pattern} is not"
        return f"clients send {encoded} for {pattern}: write it so"
    if len(pattern) > _LONGEST:
        return f"the pattern is longer than any server name, which has at most {_LONGEST} octets"
    return ""
