"""The configuration as typed, frozen values, made by the loader from a file or by a program itself.

The fields are the table of options (culvert.config.table); attributes are the options' names in snake case.
Defaults are effective values: `Service(name="web", accept=(Address.parse("443"),), ...)` behaves as the same
lines of a file would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from culvert.config.options import Act, Option
from culvert.config.table.admission import Admission
from culvert.config.table.certificates import Certificates, Trust, Verification, level_flags
from culvert.config.table.endpoints import Endpoints, Negotiation, Programs
from culvert.config.table.ocsp import Ocsp
from culvert.config.table.process import INCLUDE, Library, Process, Windows
from culvert.config.table.proxying import Proxying
from culvert.config.table.running import Running, Timers
from culvert.config.table.tls import DEFAULT_VERSION_MIN, Sessions, Tls
from culvert.config.tlsnames import VERSIONS, options_cleared, options_set
from culvert.errors import ConfigWarning, Where


@dataclass(frozen=True, kw_only=True)
class GlobalOptions(Process, Library, Windows):
    """Options of the whole daemon.  debug, facility and service serve its own log lines and syslog.

    acts: the lines of setEnv, provider, engine and their kin, in their order.  A program that gives none has
        them carried out option by option.
    """

    positions: Mapping[str, Where] = field(default_factory=dict, repr=False, compare=False)
    acts: tuple[Act, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.acts:
            object.__setattr__(self, "acts", tuple(_acts_of(self)))

    def where(self, attribute: str) -> Where | None:
        """The line that set an attribute, None if none did."""
        return self.positions.get(attribute)


@dataclass(frozen=True, kw_only=True, slots=True)  # a hundred attributes: a dictionary of each takes 5 KiB
class Service(
    Endpoints,
    Programs,
    Negotiation,
    Admission,
    Proxying,
    Certificates,
    Trust,
    Verification,
    Ocsp,
    Tls,
    Sessions,
    Timers,
    Running,
):
    """One service, its defaults already inherited.

    name: what the log calls it: `service` of the section, else the section's name.
    at: the section's line; None for a service that a program made.
    positions: attribute -> the line that set it, here or in the global part.
    lines: attribute of a repeatable option -> the line of each of its values, for a file.
    """

    name: str
    at: Where | None = field(default=None, compare=False)
    positions: Mapping[str, Where] = field(default_factory=dict, repr=False, compare=False)
    lines: Mapping[str, tuple[Where, ...]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._settle_verification()
        self._settle_versions()
        if isinstance(self.sni, str):  # of a program: a client has one name
            self._settle(sni=(self.sni,))
        if self.delay and self.failover == "rr":
            self._settle(failover="prio")  # an order needs addresses that are known beforehand

    def _settle(self, **values: object) -> None:
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)

    def _settle_verification(self) -> None:
        if self.request_cert is None and self.verify is not None:
            self._settle(**level_flags(self.verify))
        if self.require_cert is None:
            self._settle(require_cert=self.verify_chain or self.verify_peer or bool(self.pin))
        if self.request_cert is None:
            self._settle(request_cert=self.require_cert)

    def _settle_versions(self) -> None:
        """The oldest version is ours unless the file names one, or a newest that is older still."""
        if self.ssl_version_min != "":
            return
        if self.ssl_version is not None:
            self._settle(ssl_version_min=self.ssl_version, ssl_version_max=self.ssl_version)
            return
        newest = self.ssl_version_max or VERSIONS[-1]
        self._settle(ssl_version_min=min(newest, DEFAULT_VERSION_MIN, key=VERSIONS.index))

    def where(self, attribute: str) -> Where | None:
        """The line that set an attribute, else the line of the section."""
        return self.positions.get(attribute, self.at)

    def where_value(self, attribute: str, number: int) -> Where | None:
        """The line of one value of a repeatable option, counted from 0; else as where()."""
        lines = self.lines.get(attribute, ())
        return lines[number] if number < len(lines) else self.where(attribute)

    @property
    def options_set(self) -> frozenset[str]:
        """Names of `options` to set, NO_SSLv2 and NO_SSLv3 included."""
        return options_set(self.options)

    @property
    def options_cleared(self) -> frozenset[str]:
        """Names of `options` to clear after those to set have been set."""
        return options_cleared(self.options)


class Message(NamedTuple):
    """A line for the log that reading the configuration gave rise to; level 0 to 7."""

    level: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that a file says.

    inetd: the file has no section; the one service has descriptors 0 and 1 for its near end.
    source: the path of the file, or `descriptor N`.
    """

    options: GlobalOptions = field(default_factory=GlobalOptions)
    services: tuple[Service, ...] = ()
    inetd: bool = False
    warnings: tuple[ConfigWarning, ...] = ()
    messages: tuple[Message, ...] = ()
    source: str = ""


def _acts_of(options: GlobalOptions) -> Iterator[Act]:
    for option in _ACTS:
        for value in getattr(options, option.attribute):
            yield Act(option.attribute, str(value))


def _options_of(model: type[GlobalOptions] | type[Service]) -> Iterator[Option]:
    for each in dataclasses.fields(model):
        if "option" in each.metadata:
            yield each.metadata["option"]


GLOBAL: tuple[Option, ...] = (*_options_of(GlobalOptions), INCLUDE)
_ACTS = tuple(each for each in GLOBAL if each.act)
SERVICE: tuple[Option, ...] = (*_options_of(Service), INCLUDE)


def by_name(table: tuple[Option, ...]) -> Mapping[str, Option]:
    """Every name and alias in lower case -> the option."""
    return MappingProxyType({name.lower(): each for each in table for name in (each.name, *each.aliases)})


GLOBAL_NAMES = by_name(GLOBAL)
SERVICE_NAMES = by_name(SERVICE)
