"""A service's TLS, ready to use: makes sessions, and tells about them."""

from __future__ import annotations

from collections.abc import Iterable

from culvert.errors import ConfigWarning
from culvert.observe.log import DEBUG, INFO
from culvert.openssl import Context, PrivateKey, Session
from culvert.openssl._callbacks import Report
from culvert.openssl.keys import tell_keys
from culvert.openssl.protocols import tell_protocols
from culvert.openssl.session import silent
from culvert.openssl.switching import Chooser, Switch
from culvert.tls.fleet import Remote
from culvert.tls.lines import Line, protocol_line, success_lines
from culvert.tls.ocsp import PeerOcsp
from culvert.tls.psk import Secrets
from culvert.tls.resumption import Resumption
from culvert.tls.stapling import Stapled
from culvert.tls.tickets import TicketKeys


class TlsPolicy:
    """Made by culvert.tls.build(); immutable but for the sessions that it remembers.

    server: True where we take the server's part.
    verifies: True where the peer's certificate is asked for; its lines go to the ``report`` of session().
    redirects: True where a peer that did not pass goes elsewhere; Session.vouched tells which.
    warnings: what `culvert check` tells about certificates and keys.
    ocsp: judges a peer after its handshake; None where nobody is asked.
    switch: how a connection of another service that shares its address goes on in this one; None where it
        accepts for itself.
    stapled: the certificates whose OCSP responses somebody has to fetch.
    """

    __slots__ = (
        "_context", "_fleet", "_hosts", "_keys", "_memory", "_name", "_protocols", "_secrets", "_tells",
        "_token_keys", "_told",
        "ocsp", "redirects", "requires", "server", "stapled", "switch", "verifies", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        *,
        name: str | None,
        resumption: Resumption,
        verifies: bool,
        requires: bool,
        tells: bool,
        warnings: tuple[ConfigWarning, ...],
        protocols: tuple[str, ...] = (),
        secrets: Secrets | None = None,
        hosts: bool = False,
        switch: Switch | None = None,
        ocsp: PeerOcsp | None = None,
        stapled: tuple[Stapled, ...] = (),
        told: tuple[Line, ...] = (),
        token_keys: tuple[PrivateKey, ...] = (),
    ) -> None:
        self._context = context
        self._name = name
        self._memory, self._keys, self._fleet = resumption
        self._tells = tells
        self._protocols = protocols
        self._secrets = secrets
        self._hosts = hosts
        self.switch = switch
        self.server = context.server
        self.redirects = context.redirects
        self.verifies = verifies
        self.requires = requires
        self.warnings = warnings
        self.ocsp = ocsp
        self.stapled = stapled
        self._told = told
        self._token_keys = token_keys

    def try_keys(self) -> None:
        """Let each key in a token sign, which opens the token in this process.  Raises TlsError."""
        for key in self._token_keys:
            key.sign_something()

    @property
    def silent_context(self) -> Context | None:
        """The context of a server whose handshakes have nothing to tell and nothing to choose, else None."""
        judges = self.verifies and not self._context.verifies_silently
        chooses = self._hosts or self._fleet is not None or self.ocsp is not None
        silent = self.server and not judges and not chooses
        return self._context if silent else None

    def session(
        self,
        destination: str | None = None,
        report: Report | None = None,
        chooser: Chooser | None = None,
    ) -> Session:
        """A session for one connection, ready for its handshake.

        destination: where a client connects to; sessions are resumed for the same text only, None for none.
        report: takes (level, line) about the peer's certificate while the handshake verifies it, and with
            `debug = 7` about each state and alert.  It must not raise; if it does, the handshake fails.
        chooser: is asked for the service of the name that a client sends, where there are several.
        Raises TlsError when memory is out.
        """
        if self.server:
            return self._server_session(report, chooser)
        number = self._memory.number(destination) if self._memory and destination else 0
        tells = self._tells and report is not None
        session = self._context.session(report or silent, destination=number, tell_progress=tells)
        if self._name is not None:
            session.send_name(self._name)
        if self._secrets and report:
            tell_keys(session)
        saved = self._memory.take(number) if self._memory and number else None
        if saved is not None:
            session.resume(saved)
        return session

    def turn_keys(self) -> float | None:
        """Use the ticket keys of this moment; seconds until they are others, None for never."""
        return None if self._keys is None else self._keys.turn()

    def name_sessions(self) -> None:
        """Have the sessions of a server named, so that something can be remembered of them."""
        self._context.name_sessions()

    @property
    def ticket_keys(self) -> TicketKeys | None:
        """What seals a server's tickets, where that changes with time."""
        return self._keys

    def share_sessions(self, remote: Remote | None) -> None:
        """From now on, in this process, share the sessions of a fleet's server with other machines."""
        if self._fleet is not None:
            self._fleet.remote = remote

    def _server_session(self, report: Report | None, chooser: Chooser | None) -> Session:
        judges = self.verifies and not self._context.verifies_silently
        told = judges or self._tells or self._secrets or self._protocols or self._hosts
        if not (report and told):
            return self._context.session()
        session = self._context.session(report, tell_progress=self._tells)
        if self._secrets:
            tell_keys(session)
        if self._protocols:
            tell_protocols(session)
        session.chooser = chooser
        return session

    def start_lines(self) -> Iterable[Line]:
        """What the log says when the service is made, once: (level, text), of the levels 3 to 7."""
        told, self._told = self._told, ()
        return (*(self._secrets.lines() if self._secrets else ()), *told)

    def before_lines(self, session: Session) -> Iterable[Line]:
        """What the log says of a session whose handshake begins: (level, text), of the levels 6 and 7."""
        yield INFO, f"Peer certificate {'required' if self.requires else 'not required'}"
        if self.server:
            if not self._hosts:
                yield DEBUG, "SNI: no virtual services defined"
            return
        yield INFO, f"SNI: sending servername: {self._name}" if self._name else "SNI: extension disabled"
        offered = session.offered_id
        if offered:
            yield INFO, f"Attempting to resume: {offered.hex().upper()}"
        else:
            yield DEBUG, "No previous session to resume"

    def handshake_lines(self, session: Session) -> Iterable[Line]:
        """What the log says of a finished handshake: (level, text), of the levels 6 and 7."""
        yield from success_lines(session, asked=self.verifies or not self.server)
        if self._protocols:
            yield protocol_line(session)
