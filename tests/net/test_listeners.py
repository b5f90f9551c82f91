"""Listening sockets: one per worker, kept over reloads, refused when somebody else listens."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from culvert.config.model import Service
from culvert.config.sockets import DEFAULTS, merge
from culvert.config.sockets import parse as parse_option
from culvert.config.values import Address
from culvert.errors import SystemRefusal
from culvert.net.listeners import Listening, Pool

BUSY = f"Address already in use ({errno.EADDRINUSE})"


def service(*accept: str, name: str = "web", options: tuple[str, ...] = ()) -> Service:
    return Service(
        name=name,
        accept=tuple(map(Address.parse, accept)),
        socket=merge([parse_option(each) for each in options], DEFAULTS),
    )


class Lines(list[tuple[int, str]]):
    """A log to look at."""

    def say(self, level: int, text: str) -> None:
        self.append((level, text))


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


def port(listening: Listening) -> int:
    return int(listening.sockets[0].getsockname()[1])


def accept_all(sockets: list[socket.socket]) -> int:
    """How many connections wait in these queues."""
    count = 0
    for sock in sockets:
        try:
            while True:
                sock.accept()[0].close()
                count += 1
        except BlockingIOError:
            continue
    return count


def test_an_address_has_a_socket_for_each_worker_and_says_so(pool: Pool) -> None:
    lines = Lines()
    (listening,) = pool.open(service("127.0.0.1:0"), 3, lines.say)
    assert len({port(listening), *(s.getsockname()[1] for s in listening.sockets)}) == 1
    first = listening.sockets[0].fileno()
    assert (6, f"Service [web] (FD={first}) bound to 127.0.0.1:{port(listening)}") in lines
    assert [listening.for_worker(n, 3) for n in range(3)] == [[s] for s in listening.sockets]


def test_connections_are_spread_and_none_is_lost(pool: Pool) -> None:
    (listening,) = pool.open(service("127.0.0.1:0"), 2)
    clients = [socket.create_connection(("127.0.0.1", port(listening))) for _ in range(64)]
    counts = [accept_all(listening.for_worker(n, 2)) for n in range(2)]
    for client in clients:
        client.close()
    assert sum(counts) == 64
    assert min(counts) > 0


def test_fewer_workers_serve_all_the_sockets(pool: Pool) -> None:
    (listening,) = pool.open(service("127.0.0.1:0"), 3)
    (same,) = pool.open(service("127.0.0.1:0", name="other"), 1)
    assert same is not listening
    served = [sock for slot in range(2) for sock in listening.for_worker(slot, 2)]
    assert sorted(s.fileno() for s in served) == sorted(s.fileno() for s in listening.sockets)


@pytest.mark.parametrize("reuse_port", [False, True])
def test_a_port_where_somebody_listens_is_refused(pool: Pool, reuse_port: bool) -> None:
    """Even if that is a second daemon with the same SO_REUSEPORT."""
    lines = Lines()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(SystemRefusal, match=r"Binding service \[web\] failed"):
            pool.open(service(f"127.0.0.1:{taken}"), 2, lines.say)
    assert (5, f"Binding service [web] to 127.0.0.1:{taken}: {BUSY}") in lines


def test_one_address_of_several_is_enough(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        bound = pool.open(service(f"127.0.0.1:{taken}", "127.0.0.1:0"), 1)
    assert len(bound) == 1


def test_the_ipv6_wildcard_may_fail_beside_the_ipv4_one(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    lines = Lines()
    bound = pool.open(service(str(free)), 1, lines.say)
    assert [each.endpoint.text for each in bound] == [f"0.0.0.0:{free}"]
    assert (5, f"Binding service [web] to :::{free}: {BUSY}") in lines


def test_v6only_serves_both_families(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
    bound = pool.open(service(str(free), options=("a:IPV6_V6ONLY=yes",)), 1)
    assert [each.endpoint.text for each in bound] == [f"0.0.0.0:{free}", f":::{free}"]


def test_two_services_cannot_have_one_address(pool: Pool) -> None:
    (first,) = pool.open(service("127.0.0.1:0"), 1)
    fixed = f"127.0.0.1:{port(first)}"
    with pytest.raises(SystemRefusal, match="failed"):
        pool.open(service(fixed, name="second"), 1)


def test_options_of_accepted_sockets_are_set_on_the_listener(pool: Pool) -> None:
    (listening,) = pool.open(service("127.0.0.1:0", options=("l:TCP_KEEPIDLE=77",)), 2)
    for sock in listening.sockets:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_option_that_cannot_be_inherited_costs_a_warning(pool: Pool) -> None:
    lines = Lines()
    pool.open(service("127.0.0.1:0", options=("l:TCP_MAXSEG=1",)), 1, lines.say)
    assert any(level == 4 and "Failed to set local socket options" in text for level, text in lines)


def test_an_option_of_the_listener_that_fails_is_a_failed_bind(pool: Pool) -> None:
    with pytest.raises(SystemRefusal, match="failed"):
        pool.open(service("127.0.0.1:0", options=("a:TCP_MAXSEG=1",)), 1)


# Reload


def test_a_reload_keeps_the_sockets_and_what_waits_in_them(pool: Pool) -> None:
    (before,) = pool.open(service("127.0.0.1:0"), 1)
    pool.settle()
    with socket.create_connection(("127.0.0.1", port(before))):
        (after,) = pool.open(service("127.0.0.1:0"), 1)
        pool.settle()
        assert after is before
        assert accept_all(after.sockets) == 1


def test_a_reload_closes_what_is_no_longer_wanted(pool: Pool) -> None:
    (gone,) = pool.open(service("127.0.0.1:0", name="a"), 1)
    pool.settle()
    place = gone.sockets[0].getsockname()
    pool.open(service("127.0.0.1:0", name="b"), 1)
    pool.settle()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)


def test_a_reload_to_more_workers_adds_sockets(pool: Pool) -> None:
    (listening,) = pool.open(service("127.0.0.1:0"), 1)
    pool.settle()
    pool.open(service("127.0.0.1:0"), 3)
    pool.settle()
    assert len(listening.sockets) == 3
    assert {s.getsockname()[1] for s in listening.sockets} == {port(listening)}


def test_a_reload_that_fails_leaves_no_new_socket(pool: Pool) -> None:
    (kept,) = pool.open(service("127.0.0.1:0", name="a"), 1)
    pool.settle()
    pool.open(service("127.0.0.1:0", name="a"), 4)
    (fresh,) = pool.open(service("127.0.0.1:0", name="b"), 4)
    place = fresh.sockets[0].getsockname()
    pool.undo()
    assert pool.everything() == (kept,)
    assert len(kept.sockets) == 1
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place)
    pool.open(service("127.0.0.1:0", name="a"), 1)
    pool.settle()
    assert pool.everything() == (kept,)


# Unix sockets


def test_workers_share_a_unix_socket(pool: Pool, tmp_path: Path) -> None:
    (listening,) = pool.open(service(str(tmp_path / "s")), 3)
    assert [listening.for_worker(n, 3) for n in range(3)] == [listening.sockets] * 3


def test_a_stale_unix_socket_is_replaced(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    pool.open(service(str(path)), 1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_unix_socket_that_answers_is_left_alone(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        with pytest.raises(SystemRefusal, match="failed"):
            pool.open(service(str(path)), 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_file_in_the_place_of_a_unix_socket_is_left_alone(pool: Pool, tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(SystemRefusal, match="failed"):
        pool.open(service(str(path)), 1)
    assert path.read_text() == "precious"


def test_closing_removes_the_path_of_a_unix_socket_if_it_is_still_ours(pool: Pool, tmp_path: Path) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    pool.open(service(str(mine), str(others)), 1)
    os.unlink(others)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(others))
        lines = Lines()
        pool.close(lines.say)
    assert not mine.exists()
    assert others.exists()
    assert (7, f"Socket removed: {mine}") in lines
