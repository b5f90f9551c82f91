"""What a configuration may not ask for inside a program: that has processes, signals and a log of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from culvert.config.model import GLOBAL, GlobalOptions
from culvert.errors import ConfigError

REASON = "is for the daemon; inside a program it has no effect: leave the line out"

# Values that ask for no more than a program does anyway; of the other options it is None and no.
_ACCEPTED: Mapping[str, tuple[object, ...]] = {"foreground": ("quiet",), "log": ("append",), "workers": (1,)}


def refusals(options: GlobalOptions) -> Iterator[ConfigError]:
    """An error for each option of the daemon that a file sets to something, to its default included."""
    for option in GLOBAL:
        at = options.where(option.attribute)
        if option.daemon_only and at is not None:
            accepted = _ACCEPTED.get(option.attribute, (None, False))
            if getattr(options, option.attribute) not in accepted:
                yield ConfigError(at, option.name, REASON)
