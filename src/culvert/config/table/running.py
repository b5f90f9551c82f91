"""Timers, logging and identity of a service."""

from __future__ import annotations

from dataclasses import dataclass

from culvert.config.options import option
from culvert.config.table.levels import LEVEL, group_of, user_of
from culvert.config.values import SOME_TEXT, Kind, choice, number, seconds


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Timers:
    """How long each phase may last: seconds, None for ever."""

    timeout_busy: float | None = option(
        "TIMEOUTbusy",
        seconds("Illegal busy timeout"),
        300.0,
        "How long to wait for data that is expected.",
        unit="s",
    )
    timeout_close: float | None = option(
        "TIMEOUTclose",
        seconds("Illegal close timeout"),
        60.0,
        "How long to wait for the end of the other direction; 0 does not wait.",
        unit="s",
    )
    timeout_connect: float | None = option(
        "TIMEOUTconnect",
        seconds("Illegal connect timeout"),
        10.0,
        "How long to wait for an address of `connect`.",
        unit="s",
    )
    timeout_idle: float | None = option(
        "TIMEOUTidle",
        seconds("Illegal idle timeout"),
        43_200.0,
        "How long a tunnel stays open without a byte.",
        unit="s",
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Running:
    """How a service shows itself."""

    debug: int = option(
        "debug", LEVEL, 5, "The least important messages of this service that are logged.", shown="notice"
    )
    log_id: str = option(
        "logId",
        choice("sequential", "unique", "thread", "process", reason="Invalid connection identifier type"),
        "sequential",
        "What marks the log lines of one connection.",
        since="5.12",
    )
    service: str | None = option(
        "service",
        SOME_TEXT,
        None,
        "The name of this service in the log and for sessions.",
        inherited=False,
        shown="the name of the section",
    )
    stack: int | None = option(
        "stack",
        number("Illegal thread stack size", 1),
        None,
        "Accepted without effect: there is no thread for each connection.",
        idle="it has no effect: connections are not threads and have no stack",
        unit="bytes",
    )
    setuid: str | None = option(
        "setuid",
        Kind("user", user_of),
        None,
        "The owner of a Unix socket that is listened on.",
    )
    setgid: str | None = option(
        "setgid",
        Kind("group", group_of),
        None,
        "The group of a Unix socket that is listened on.",
        since="5.24",
    )
