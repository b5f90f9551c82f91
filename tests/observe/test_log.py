"""Log lines: levels, identifiers, and what a peer's text may not do."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from culvert.observe import log as log_module
from culvert.observe.log import DEBUG, ERR, INFO, LOGGER, NOTICE, TEXT_BYTES, Log, clean, for_library
from tests.observe.collecting import Kept, collecting


@pytest.fixture
def kept() -> Iterator[Kept]:
    with collecting() as kept:
        yield kept


def test_a_line_carries_its_level_and_its_identifier(kept: Kept) -> None:
    Log("42").write(NOTICE, "Service [web] accepted connection from 127.0.0.1:1")
    assert kept.bodies == ["LOG5[42]: Service [web] accepted connection from 127.0.0.1:1"]


def test_a_line_above_the_threshold_is_not_written(kept: Kept) -> None:
    log = Log("main", NOTICE)
    log.write(INFO, "no")
    log.write(NOTICE, "yes")
    assert kept.bodies == ["LOG5[main]: yes"]


def test_a_connection_has_the_level_of_its_service(kept: Kept) -> None:
    daemon = Log("main", ERR)
    daemon.child("1", DEBUG).write(DEBUG, "detailed")
    daemon.child("2").write(NOTICE, "quiet")
    assert kept.bodies == ["LOG7[1]: detailed"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo\r\n", "one.two"),
        ("\x1b[31mred\x07", ".[31mred."),
        ("nul\x00 tab\t del\x7f csi\x9b", "nul. tab. del. csi."),
        ("line\u2028separator", "line.separator"),
        ("grüße, 世界", "grüße, 世界"),
        ("\udcff raw byte", "\udcff raw byte"),
        ("", ""),
    ],
)
def test_a_peers_text_stays_in_its_line(text: str, shown: str) -> None:
    assert clean(text) == shown


@pytest.mark.parametrize("text", ["x" * 5000, "ü" * 5000, "世" * 5000, "a" + "😀" * 5000, "\udcff" * 5000])
def test_a_text_is_cut_between_characters(text: str) -> None:
    encoded = clean(text).encode("utf-8", "surrogateescape")
    assert TEXT_BYTES - 4 < len(encoded) <= TEXT_BYTES
    assert text.startswith(clean(text))


def test_a_text_of_the_greatest_length_is_whole() -> None:
    assert clean("ü" * (TEXT_BYTES // 2)) == "ü" * (TEXT_BYTES // 2)


def test_levels_keep_their_order_in_the_standard_library() -> None:
    assert list(log_module.STANDARD) == sorted(log_module.STANDARD, reverse=True)


@pytest.mark.parametrize(
    ("standard", "ours"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (25, 5), (logging.WARNING, 4), (logging.CRITICAL, 2), (99, -1)],
)
def test_an_embedding_program_sets_the_level_as_for_any_library(standard: int, ours: int) -> None:
    before = LOGGER.level
    LOGGER.setLevel(standard)
    try:
        assert for_library().level == ours
    finally:
        LOGGER.setLevel(before)


def test_a_library_says_nothing_unasked(capfd: pytest.CaptureFixture[str]) -> None:
    Log("1").write(ERR, "nobody listens")
    assert capfd.readouterr() == ("", "")
