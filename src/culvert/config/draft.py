"""A section while its lines are being read."""

from __future__ import annotations

from typing import Any

from culvert.config.model import GLOBAL, SERVICE
from culvert.config.options import Act, Merge, Option
from culvert.errors import Where

# How the lines of a repeatable option become its value.
JOINS = {each.attribute: each.join for each in (*GLOBAL, *SERVICE) if each.repeatable}


class Draft:
    """The values of one section, or of the global part, so far.

    positions: attribute -> the last line that set it, inherited ones included.
    lines: attribute of a repeatable option -> the line of each of its values.
    acts: what is to be carried out in the order of the file.
    broken: attributes with a line that could not be read; checks must not complain of their absence as well.
    own: attributes that were set here and not inherited.
    """

    def __init__(self, name: str, at: Where | None, defaults: Draft | None = None) -> None:
        self.name, self.at = name, at
        self._values: dict[str, Any] = dict(defaults._values) if defaults else {}
        self.positions: dict[str, Where] = dict(defaults.positions) if defaults else {}
        self.lines: dict[str, tuple[Where, ...]] = dict(defaults.lines) if defaults else {}
        self.acts: list[Act] = []
        self.broken: set[str] = set(defaults.broken) if defaults else set()
        self.own: set[str] = set()

    def set(self, option: Option, value: object, at: Where) -> None:
        """Take one line that could be read."""
        attribute = option.attribute
        if not option.repeatable:
            self._values[attribute] = value
        else:
            kept = attribute in self.own or option.merge is Merge.JOIN
            self._values[attribute] = [*(self._values.get(attribute, ()) if kept else ()), value]
            self.lines[attribute] = (*(self.lines.get(attribute, ()) if kept else ()), at)
        if option.act:
            self.acts.append(Act(attribute, str(value), at))
        if option.also:
            self._values.update(option.also(value))
        self.positions[attribute] = at
        self.own.add(attribute)

    def adopt(self, option: Option, other: Draft) -> None:
        """Take over what `other` has for an option that both parts of the file know."""
        attribute = option.attribute
        self._values[attribute] = other._values[attribute]
        self.positions[attribute] = other.positions[attribute]

    def break_(self, option: Option) -> None:
        """Remember a line of an option that could not be read."""
        self.broken.add(option.attribute)

    def value(self, attribute: str) -> Any:
        """What was set so far, None if nothing was."""
        return self._values.get(attribute)

    def values(self) -> dict[str, Any]:
        """The attributes as the model has them."""
        return {name: JOINS[name](value) if name in JOINS else value for name, value in self._values.items()}
