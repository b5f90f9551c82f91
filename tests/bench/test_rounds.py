from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bench.rounds
from bench.backend import Backends
from bench.errors import BenchError
from bench.generator import Facts
from bench.measures import Measure, measure_named
from bench.peers import Instance, Peer
from bench.rounds import Bench, Result, take
from bench.sampling import Sample

FACTS = Facts("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519", "EC-256")
Sampler = Callable[[str], Sample]


def peer(name: str) -> Peer:
    return Peer(name, ("true",), lambda _site: "", name)


@pytest.fixture
def take_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Sampler], Result]:
    """Take three rounds of the kept-connection measure with the test's own sampler, without processes."""

    @contextlib.contextmanager
    def running(one: Peer, _backend: int, _certificate: Path, _folder: Path, _lines: str) -> Iterator[Peer]:
        yield one

    def run(sampler: Sampler) -> Result:
        def cpu_sample(_program: Path, _measure: Measure, instance: Instance, _share: float) -> Sample:
            assert isinstance(instance, Peer)
            return sampler(instance.name)

        monkeypatch.setattr(bench.rounds, "running", running)
        monkeypatch.setattr(bench.rounds, "cpu_sample", cpu_sample)
        peers = [peer(name) for name in ("culvert", "stunnel", "hitch")]
        ground = Bench(tmp_path, tmp_path, Backends(1, 2), {"p256": tmp_path}, peers, 3, 1.0)
        return take(ground, measure_named("kept"))

    return run


def test_every_round_has_every_peer_and_another_one_begins(take_with: Callable[[Sampler], Result]) -> None:
    order: list[str] = []

    def sampler(name: str) -> Sample:
        order.append(name)
        return Sample(1.0, FACTS)

    result = take_with(sampler)
    assert order == [
        *("culvert", "stunnel", "hitch"),
        *("stunnel", "hitch", "culvert"),
        *("hitch", "culvert", "stunnel"),
    ]
    assert [set(row) for row in result.rounds] == [{"culvert", "stunnel", "hitch"}] * 3
    assert not result.failures


def test_a_peer_that_failed_is_out_and_the_others_go_on(take_with: Callable[[Sampler], Result]) -> None:
    def sampler(name: str) -> Sample:
        if name == "hitch":
            raise BenchError("reply: wrong bytes")
        return Sample(1.0, FACTS)

    result = take_with(sampler)
    assert result.failures == {"hitch": "reply: wrong bytes"}
    assert result.values("hitch") == []
    assert result.values("culvert") == [1.0, 1.0, 1.0]


def test_a_peer_that_agreed_on_another_cipher_has_no_figure(take_with: Callable[[Sampler], Result]) -> None:
    other = Facts("TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "X25519", "EC-256")
    result = take_with(lambda name: Sample(1.0, other if name == "culvert" else FACTS))
    assert list(result.failures) == ["culvert"]
    assert "CHACHA20" in result.failures["culvert"]


def test_a_peer_must_agree_on_the_same_in_every_round(take_with: Callable[[Sampler], Result]) -> None:
    seen: list[str] = []

    def sampler(name: str) -> Sample:
        seen.append(name)
        group = "P-256" if seen.count("stunnel") == 2 and name == "stunnel" else FACTS.group
        return Sample(1.0, Facts(FACTS.version, FACTS.cipher, group, FACTS.key))

    assert "agreed on" in take_with(sampler).failures["stunnel"]
