"""What a reload reads and cannot change: it is told in the log, and what was in force stays so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from culvert.config.model import GLOBAL, GLOBAL_NAMES, GlobalOptions
from culvert.observe.log import NOTICE

FIXED: Final = (
    GLOBAL_NAMES["foreground"],
    *(each for each in GLOBAL if not each.reloadable and not each.act),
)
"""Options of the daemon of which a start alone obeys some value; acts that come late are refused."""


def say_what_waits(
    started: GlobalOptions, before: GlobalOptions, fresh: GlobalOptions, say: Callable[[int, str], None]
) -> None:
    """Say, for each option that only a start obeys and that has just changed, what stays in force.

    started: what the daemon was started with.  before: what the last reload has read, so that a change is
    told once and not at every reload behind it.
    """
    for option in FIXED:
        value, in_force = getattr(fresh, option.attribute), getattr(started, option.attribute)
        if value == getattr(before, option.attribute) or not _needs_restart(in_force, value):
            continue
        place = fresh.where(option.attribute)
        at = f"{place.path}:{place.line}: " if place else ""
        shown = [option.kind.render(each) or "none" for each in (value, in_force)]
        say(NOTICE, f"{at}{option.name}: {shown[0]} needs a restart; {shown[1]} stays in force")


def as_started(started: GlobalOptions, fresh: GlobalOptions) -> GlobalOptions:
    """The new options, in the foreground or background in which the daemon is: its log goes by that."""
    if _needs_restart(started.foreground, fresh.foreground):
        return replace(fresh, foreground=started.foreground)
    return fresh


def _needs_restart(in_force: object, wanted: object) -> bool:
    """Whether the difference is more than that between `yes` and `quiet`, which is one of the log."""
    return in_force != wanted and {in_force, wanted} != {"yes", "quiet"}
