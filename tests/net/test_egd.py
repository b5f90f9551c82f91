"""Talking to an entropy gathering daemon: the protocol, its bounds, and peers that break it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from culvert.errors import SystemRefusal
from culvert.net import egd


def talk(wanted: int, *answers: bytes) -> tuple[list[tuple[bytes, int]], bytes]:
    """Run a conversation with these answers: its questions, and what it brought."""
    conversation = egd.conversation(wanted)
    asked = [next(conversation)]
    try:
        for answer in answers:
            asked.append(conversation.send(answer))  # noqa: PERF401 (a StopIteration must come through)
    except StopIteration as finished:
        return asked, finished.value
    raise AssertionError(f"it goes on: {asked}")


@pytest.mark.parametrize(
    ("wanted", "answers", "asked", "got"),
    [
        (4, (b"\4", b"abcd"), [(b"\1\4", 1), (b"", 4)], b"abcd"),
        (4, (b"\1", b"a", b"\3", b"bcd"), [(b"\1\4", 1), (b"", 1), (b"\1\3", 1), (b"", 3)], b"abcd"),
        (4, (b"\0", b"abcd"), [(b"\1\4", 1), (b"\2\4", 4)], b"abcd"),
        (4, (b"\2", b"ab", b"\0"), [(b"\1\4", 1), (b"", 2), (b"\1\2", 1)], b"ab"),
        (300, (b"\xff", b"x" * 255, b"\0"), [(b"\1\xff", 1), (b"", 255), (b"\1\x2d", 1)], b"x" * 255),
    ],
)
def test_the_conversation(
    wanted: int, answers: tuple[bytes, ...], asked: list[tuple[bytes, int]], got: bytes
) -> None:
    assert talk(wanted, *answers) == (asked, got)


def test_more_than_was_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="5 octets where 4 were asked for"):
        talk(4, b"\5")


@contextmanager
def daemon(path: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """An EGD for one connection."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def run() -> None:
            with listener.accept()[0] as sock:
                serve(sock)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield str(path)
        finally:
            thread.join()


def generous(sock: socket.socket) -> None:
    """Give what is asked for, a few octets at a time."""
    while command := sock.recv(2):
        count = command[1]
        sock.sendall(bytes((min(count, 100),)))
        for _ in range(min(count, 100)):
            sock.sendall(b"r")


def test_a_daemon_that_gives_in_parts_is_asked_until_there_is_enough(tmp_path: Path) -> None:
    with daemon(tmp_path / "egd", generous) as path:
        assert egd.ask(path, 255) == b"r" * 255


def mute(sock: socket.socket) -> None:
    """Listen until the other is gone."""
    while sock.recv(16):
        pass


def deaf(_sock: socket.socket) -> None:
    """Hang up."""


def test_a_daemon_that_says_nothing_is_left_in_time(tmp_path: Path) -> None:
    with (
        daemon(
            tmp_path / "egd", lambda sock: [None for _ in iter(lambda: sock.recv(16), b"")].clear()
        ) as path,
        pytest.raises(SystemRefusal, match="timed out"),
    ):
        egd.ask(path, 4, patience=0.05)


def test_a_daemon_that_hangs_up_is_told(tmp_path: Path) -> None:
    with (
        daemon(tmp_path / "egd", deaf) as path,
        pytest.raises(SystemRefusal, match=r"closed the connection|reset|Broken pipe"),
    ):
        egd.ask(path, 4)


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemRefusal, match=f"EGD socket {tmp_path}/none: No such file"):
        egd.ask(str(tmp_path / "none"), 4)
