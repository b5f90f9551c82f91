"""What decides who is let in to a service, prepared at the load: nothing of it asks a file or a resolver
later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from culvert.config.model import Service
from culvert.errors import ConfigError, SystemRefusal
from culvert.net.networks import Networks
from culvert.net.owners import Owner, Owners
from culvert.observe.log import WARNING
from culvert.tunnel import ident
from culvert.tunnel.seats import Seats


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """The conditions of one service.

    seats: where its connections are counted, None where there is no limit.
    uids, gids: the local users and groups that are let in, None where anybody is.
    members: the users that were members of those groups at the load; of a TCP client only the user is known.
    ident_port: where a client's host is asked.
    """

    service: Service
    allow: Networks
    deny: Networks
    seats: Seats | None
    uids: frozenset[int] | None
    gids: frozenset[int]
    members: frozenset[int]
    ident_port: int

    def admits_owner(self, owner: Owner | None) -> bool:
        """Whether the user of a local client may come in; nobody is refused."""
        if self.uids is None:
            return True
        if owner is None:
            return False
        return owner.uid in self.uids or owner.uid in self.members or not self.gids.isdisjoint(owner.gids)


def prepare(
    service: Service, say: Callable[[int, str], object], earlier: Seats | None = None
) -> Admission | None:
    """The conditions that a service has; None when everybody may come in.  Blocks.

    earlier: where the service of this name counted before a reload; its connections still count.
    Raises ConfigError when this kernel cannot tell what has to be known.
    """
    conditions = (service.allow, service.deny, service.allow_uid, service.allow_gid, service.ident)
    limited = service.max_connections is not None or service.max_connections_per_address is not None
    if not limited and not service.libwrap and not any(conditions):
        return None
    if service.libwrap:
        _check_tables(service)
    owned = bool(service.allow_uid or service.allow_gid)
    if owned:
        _probe_owners(service)
    return Admission(
        service,
        Networks(service.allow),
        Networks(service.deny),
        (earlier or new_seats(service, "maxConnections")) if limited else None,
        frozenset(service.allow_uid) if owned else None,
        frozenset(service.allow_gid),
        _members(service.allow_gid),
        _ident_port(service, say),
    )


def _check_tables(service: Service) -> None:
    """Refuse at the load what would have to be refused for every connection."""
    from culvert.net.wrappers import tables  # only services that use it pay for the import

    try:
        impossible = tables.find_impossible(tables.Tables(), service.name)
    except OSError as error:
        raise ConfigError(
            service.where("libwrap"), "libwrap", f"{error.filename}: {error.strerror}"
        ) from error
    if impossible:
        raise ConfigError(service.where("libwrap"), "libwrap", str(impossible))


def new_seats(service: Service, option: str) -> Seats:
    """Where an option of a service counts.  Raises ConfigError when there is no memory or no descriptor."""
    try:
        return Seats()
    except OSError as error:
        refusal = SystemRefusal.of("shared memory for counting", error)
        attribute = "failover" if option == "failover" else "max_connections"
        raise ConfigError(service.where(attribute), option, str(refusal)) from error


def _probe_owners(service: Service) -> None:
    try:
        Owners().close()
    except OSError as error:
        option = "allowUid" if service.allow_uid else "allowGid"
        refusal = SystemRefusal.of("the kernel does not tell who owns a connection (sock_diag)", error)
        raise ConfigError(service.where("allow_uid"), option, str(refusal)) from error


def _members(gids: Iterable[int]) -> frozenset[int]:
    """The users of these groups: those whose first group it is, and those that it names."""
    wanted = frozenset(gids)
    if not wanted:
        return frozenset()
    import grp  # neither on every platform nor often needed
    import pwd

    named = {name for each in grp.getgrall() if each.gr_gid in wanted for name in each.gr_mem}
    return frozenset(each.pw_uid for each in pwd.getpwall() if each.pw_gid in wanted or each.pw_name in named)


def _ident_port(service: Service, say: Callable[[int, str], object]) -> int:
    if service.ident is None:
        return 0
    port, warning = ident.port()
    if warning:
        say(WARNING, warning)
    return port
