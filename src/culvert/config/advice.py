"""What works and is still worth a word: warnings, told in the order of the file.

The first words of the warnings that the original has too are kept: filters look for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from culvert.config.draft import Draft
from culvert.config.model import SERVICE, Service
from culvert.config.naming import doubts_about_names
from culvert.config.ocspadvice import ocsp_advice
from culvert.config.rules.case import VERIFY
from culvert.config.secrecy import exposed
from culvert.config.table.protocols import OPTIONS, PROTOCOLS
from culvert.config.tlsnames import VERSIONS
from culvert.config.values import Address
from culvert.errors import ConfigWarning, printable

_SECURE = VERSIONS.index("TLSv1.2")
_WEAK_CIPHERS = frozenset(
    "aNULL eNULL NULL COMPLEMENTOFALL ADH AECDH EXP EXPORT LOW DES 3DES RC4 MD5 SEED IDEA".split()  # noqa: SIM905
)
_ONE_SIDED = tuple(each for each in SERVICE if each.mode)
_VERSION_LINES = ("ssl_version_min", "ssl_version", "ssl_version_max")
_ANYWHERE = (None, "0.0.0.0", "::")

Advice = tuple[str, str]  # attribute or "", reason


def advise(services: Sequence[Service], drafts: Sequence[Draft]) -> Iterator[ConfigWarning]:
    """Everything that an operator may want to know of a configuration without errors."""
    told: set[tuple[object, str]] = set()
    for service, draft in zip(services, drafts, strict=True):
        for attribute, reason in _of_service(service, draft):
            at = service.where(attribute)
            if (at, reason) not in told:
                told.add((at, reason))
                yield ConfigWarning(at, attribute and _spelling(attribute), printable(reason))
    yield from _repetitions(services)
    yield from doubts_about_names(services, drafts)


def _spelling(attribute: str) -> str:
    return next(each.name for each in SERVICE if each.attribute == attribute)


def _of_service(service: Service, draft: Draft) -> Iterator[Advice]:
    own = frozenset(draft.own)
    for reads, rule in _OF_VALUES:
        if draft.broken.isdisjoint(reads):
            yield from rule(service)
    for reads, doubt in _OF_LINES:
        if draft.broken.isdisjoint(reads):
            yield from doubt(service, own)


def _unverified(service: Service) -> Iterator[Advice]:
    if not service.client or service.psk_secrets or service.pin:
        return
    if not (service.verify_chain or service.verify_peer):
        yield "", f"Service [{service.name}] needs authentication to prevent MITM attacks"
    elif not (service.verify_peer or service.check_host or service.check_ip or service.check_email):
        hint = 'use "checkHost" or "checkIP" to restrict trusted certificates'
        yield "verify_chain", f'Service [{service.name}] uses "verifyChain" without subject checks: {hint}'


def _unused_lists(service: Service) -> Iterator[Advice]:
    if not (service.verify_chain or service.verify_peer or service.pin):
        for attribute in ("crl_file", "crl_path"):
            if getattr(service, attribute):
                yield (
                    attribute,
                    f"Service [{service.name}] verifies nobody, so revocation is not checked either",
                )


def _open_to_all(service: Service) -> Iterator[Advice]:
    """Whoever reaches the clear end of a client is in the tunnel."""
    if service.client:
        for each in service.accept:
            if each.path is None and each.host in _ANYWHERE:
                reason = f"takes clear text from other machines on {each}: 127.0.0.1:{each.port} would not"
                yield "accept", f"Service [{service.name}] {reason}"


def _old_versions(service: Service) -> Iterator[Advice]:
    oldest = service.ssl_version_min
    if oldest is None or VERSIONS.index(oldest) < _SECURE:
        attribute = next((each for each in _VERSION_LINES if each in service.positions), "")
        name = oldest or "every old version of TLS"
        yield attribute, f"Service [{service.name}] allows {name}, which is not secure"
    if "NO_SSLv3" in service.options_cleared:
        yield "options", f"Service [{service.name}] allows SSLv3, which is not secure"


def _believed_sessions(service: Service) -> Iterator[Advice]:
    """A session says who its client is, and nobody says whose the answer with the session is."""
    if isinstance(service.sessiond, Address) and service.request_cert and not service.client:
        reason = "takes certificates out of sessions that `sessiond` brings without authentication"
        yield "sessiond", f"Service [{service.name}] {reason}"


def _weak_algorithms(service: Service) -> Iterator[Advice]:
    if service.security_level is not None and service.security_level < 2:
        yield (
            "security_level",
            f"Service [{service.name}] allows weak keys and algorithms: securityLevel is below 2",
        )
    weak = sorted(_WEAK_CIPHERS.intersection(service.ciphers.replace(",", ":").replace(" ", ":").split(":")))
    if weak:
        yield "ciphers", f"Service [{service.name}] allows weak ciphers: {', '.join(weak)}"


def _readable_secrets(service: Service) -> Iterator[Advice]:
    if not service.strict:  # else it is an error
        for each in exposed(service):
            yield each.attribute, each.reason


def _without_effect(service: Service, own: frozenset[str]) -> Iterator[Advice]:
    mode = "client" if service.client else "server"
    for option in _ONE_SIDED:
        if option.mode != mode and option.attribute in own:
            yield option.attribute, f"{option.name} has no effect in the {mode} section [{service.name}]"


def _unread(service: Service, own: frozenset[str]) -> Iterator[Advice]:
    """Options for a protocol that this one does not read."""
    protocol = PROTOCOLS.get(service.protocol) if service.protocol else None
    side = protocol.side(client=service.client) if protocol else None
    read = side.reads if side else frozenset()
    beside = f"with protocol = {service.protocol}" if service.protocol else "without protocol"
    for attribute in sorted(own & (OPTIONS - read)):
        if service.client or attribute == "protocol_host":  # else told already
            yield attribute, f"{_spelling(attribute)} has no effect {beside} in [{service.name}]"


def _far_end_of_a_program(service: Service, own: frozenset[str]) -> Iterator[Advice]:
    """With a program for a far end nothing is dialled, unless a peer is redirected."""
    if service.exec is None or service.connect or service.redirect:
        return
    for attribute in sorted(own & {"delay", "failover", "local", "timeout_connect"}):
        yield attribute, f"{_spelling(attribute)} has no effect with exec in [{service.name}]"


def _owner_of_nothing(service: Service, own: frozenset[str]) -> Iterator[Advice]:
    """In a section they only concern the path of a Unix socket."""
    if not any(each.path and not each.is_abstract for each in service.accept):
        for attribute in sorted(own & {"setuid", "setgid"}):
            if getattr(service, attribute) is None:
                continue
            reason = f"{attribute} has no effect in [{service.name}], which has no Unix socket with a path"
            yield attribute, reason


def _repetitions(services: Iterable[Service]) -> Iterator[ConfigWarning]:
    names: set[str] = set()
    users: dict[str, str] = {}
    for service in services:
        if service.name in names:
            yield ConfigWarning(service.at, "", printable(f"another section is called [{service.name}], too"))
        names.add(service.name)
        for address in service.accept:
            first = users.setdefault(address.text, service.name)
            if first != service.name:
                reason = f"[{first}] listens on {address} already"
                yield ConfigWarning(service.where("accept"), "accept", printable(reason))


# What each rule reads, and the rule: it is left out when a line of one of those attributes was wrong, since
# nobody knows what the operator meant.
_OF_VALUES: tuple[tuple[Iterable[str], Callable[[Service], Iterator[Advice]]], ...] = (
    (("client", "psk_secrets", "check_host", "check_ip", "check_email", *VERIFY), _unverified),
    (("crl_file", "crl_path", *VERIFY), _unused_lists),
    (("client", "accept"), _open_to_all),
    (("options", *_VERSION_LINES), _old_versions),
    (("security_level", "ciphers"), _weak_algorithms),
    (("strict", "key", "cert", "psk_secrets", "ticket_key_secret", "sessiond"), _readable_secrets),
    (("client", "sessiond", *VERIFY), _believed_sessions),
    (("client", "verify_chain", "verify", "ocsp", "ocsp_aia", "ocsp_flag", "ocsp_nonce"), ocsp_advice),
)
_OF_LINES: tuple[tuple[Iterable[str], Callable[[Service, frozenset[str]], Iterator[Advice]]], ...] = (
    (("client",), _without_effect),
    (("client", "protocol"), _unread),
    (("accept",), _owner_of_nothing),
    (("exec", "connect", "redirect"), _far_end_of_a_program),
)
