"""Identifiers of connections."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable

import pytest

from culvert.observe.ids import Ids, SharedCounter


def test_sequential_identifiers_begin_at_zero() -> None:
    ids = Ids()
    assert [ids.next("sequential") for _ in range(3)] == ["0", "1", "2"]


def test_a_shared_counter_gives_no_number_twice_and_leaves_none_out() -> None:
    counter = SharedCounter()
    reader, writer = os.pipe()
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            taken = [counter() for _ in range(2000)]
            for start in range(0, 2000, 200):
                os.write(writer, " ".join(map(str, taken[start : start + 200])).encode() + b" ")
            os._exit(0)
        pids.append(pid)
    os.close(writer)
    with os.fdopen(reader) as numbers:
        given = sorted(map(int, numbers.read().split()))
    for pid in pids:
        os.waitpid(pid, 0)
    assert given == list(range(6000))
    assert counter() == 6000
    counter.close()


def test_unique_identifiers_have_their_form_and_differ() -> None:
    made = {Ids().next("unique") for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"[0-9a-zA-Z]{22}", each) for each in made)


@pytest.mark.parametrize(("kind", "number"), [("process", os.getpid), ("thread", threading.get_native_id)])
def test_identifiers_of_the_system(kind: str, number: Callable[[], int]) -> None:
    assert Ids().next(kind) == str(number())
