"""What an option is.  The table itself is the fields of config.model: each carries an `Option`.

Everything that is known of an option stands in its one `option(...)` line: how it is read, what it is worth
when it is not given, how lines of it add up, since when stunnel has it, and whether this version of Culvert
does what it asks for.  The loader, `-help`, `-version`, docs/options.md and the tests all read the same line.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from culvert.config.values import Kind
from culvert.errors import Where


class Merge(enum.Enum):
    """How several lines of one option, and the global part with a section, come together."""

    LAST = "the last line wins"
    LIST = "lines add up; the first line of a section discards the global list"
    JOIN = "lines add up; a section adds to the global list"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One keyword of the configuration file: the only place where it is described."""

    name: str  # as the manual spells it; matched in any case
    kind: Kind
    default: object
    help: str  # one sentence for the operator
    shown: str = ""  # the default in words, where the bare value would not say it
    aliases: tuple[str, ...] = ()  # older names that mean the same
    unit: str = ""
    merge: Merge = Merge.LAST
    also: Callable[[Any], Mapping[str, object]] | None = None  # other attributes that a line sets
    join: Callable[[Sequence[Any]], tuple[Any, ...]] = tuple  # the values of all lines -> the attribute
    inherited: bool = True  # False: a value of the global part is no default for the sections
    reloadable: bool = True  # False: a change needs a restart
    reload_limit: str = ""  # which change a reload does not make, though it makes others
    daemon_only: bool = False  # of no use in a program that embeds Culvert, and refused there
    since: str = "4.42"  # the first stunnel that has it; "Culvert" for our own
    obsolete: str = ""  # what to write instead
    idle: str = ""  # why it has no effect here, told once for each line
    mode: str = ""  # "client" or "server": without effect in sections of the other mode
    secret: bool = False  # never shown
    act: bool = False  # carried out line by line, together with the other acts, in the order of the file
    missing: str = ""  # what this version of Culvert cannot do; empty: the option is available
    neutral: tuple[object, ...] = ()  # values beside the default that ask for nothing and are accepted

    @property
    def attribute(self) -> str:
        """The name of the field: TIMEOUTbusy is timeout_busy, checkIP is check_ip."""
        return attribute_name(self.name)

    @property
    def available(self) -> bool:
        return not self.missing

    @property
    def repeatable(self) -> bool:
        return self.merge is not Merge.LAST

    def refusal(self, value: object) -> str | None:
        """Why a value cannot be had, or None when it can.  Lists are asked item by item."""
        if self.available or value == self.default or value in self.neutral:
            return None
        return self.missing

    @property
    def default_text(self) -> str:
        """The default as an operator would write it; empty when there is none."""
        if self.shown or not isinstance(self.default, tuple):
            return self.shown or self.kind.render(self.default)
        return ", ".join(map(self.kind.render, self.default))


class Act(NamedTuple):
    """A line that is not so much a value as something to be done, when its turn comes."""

    attribute: str
    value: str
    at: Where | None = None


def option(name: str, kind: Kind, default: Any, text: str, **facts: Any) -> Any:
    """A dataclass field with its Option: `text` is its help, `facts` are the other fields of Option."""
    described = Option(name=name, kind=kind, default=default, help=text, **facts)
    return dataclasses.field(default=default, repr=not described.secret, metadata={"option": described})


@functools.cache
def attribute_name(name: str) -> str:
    """CAfile -> ca_file, sslVersionMin -> ssl_version_min."""
    split = re.sub(r"^([A-Z]+)(?=[a-z])", r"\1_", name)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", split).lower()


def not_yet(what: str) -> str:
    """The reason with which an option is refused whose behaviour does not exist."""
    return f"is not available in this version of Culvert: {what}"


WINDOWS = "is a Windows option; it means nothing on this platform"
