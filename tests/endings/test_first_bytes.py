"""Bytes that come together with the last handshake flight, or in odd segments, reach the other side at once.

"At once" means that the sender is silent afterwards: nothing else would ever bring them out of a buffer.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.endings.conftest import MakeCrossing
from tests.endings.matrix import VARIANTS
from tests.proxies import Crossing, Deadline, PlainPeer, TlsPeer, Variant, digest_of, payload

pytestmark = [pytest.mark.integration]

SECONDS = 10.0
RECORDS = {
    "one record": (1000,),
    "3 records": (300, 300, 400),
    "200 records": (5,) * 200,
    "3 full records": (16_384,) * 3,
}
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=str)
every_form = pytest.mark.parametrize("records", RECORDS.values(), ids=RECORDS)


def shake_and_send(records: tuple[int, ...], *, singly: bool = False) -> Callable[[TlsPeer, Deadline], None]:
    """A handshake whose last flight and these records leave in one write, or octet by octet.

    Of TLS 1.2 that is the server's last flight, or a resuming client's; a client's of TLS 1.3; and a server's
    session tickets of TLS 1.3.
    """

    def shake(tls: TlsPeer, deadline: Deadline) -> None:
        tls.singly = singly
        tls.handshake(deadline, keep_last_flight=True)
        data, start = payload(sum(records)), 0
        for size in records:
            tls.hold(data[start : start + size])
            start += size
        tls.flush(deadline)

    return shake


def all_arrives(crossing: Crossing, records: tuple[int, ...], *, singly: bool = False) -> None:
    """Make a connection that way, and expect every octet while the TLS peer keeps silent."""
    session = None
    if crossing.variant.mode == "server" and crossing.variant.version == "TLSv1.2":
        with crossing.pair() as (tls, _):
            session = tls.tls.session
    with crossing.pair(shake=shake_and_send(records, singly=singly), session=session) as (tls, plain):
        plain.read(sum(records), Deadline(SECONDS))
        assert plain.seen().digest == digest_of(sum(records))
        assert session is None or tls.tls.session_reused


@every_variant
@every_form
def test_records_in_the_segment_of_the_last_flight_arrive(
    tunnel: MakeCrossing, variant: Variant, records: tuple[int, ...]
) -> None:
    all_arrives(tunnel(variant), records)


@every_variant
def test_a_handshake_and_records_of_one_octet_per_segment_arrive(
    tunnel: MakeCrossing, variant: Variant
) -> None:
    all_arrives(tunnel(variant), (100, 100), singly=True)


@every_variant
@every_form
def test_later_records_in_one_segment_arrive(
    tunnel: MakeCrossing, variant: Variant, records: tuple[int, ...]
) -> None:
    with tunnel(variant).pair() as (tls, plain):
        tls.hold(payload(10, "hello"))
        tls.flush(Deadline(SECONDS))
        plain.read(10, Deadline(SECONDS))
        for size in records:
            tls.hold(payload(size))
        tls.flush(Deadline(SECONDS))
        plain.read(10 + sum(records), Deadline(SECONDS))


@every_variant
def test_what_plain_says_first_arrives(tunnel: MakeCrossing, variant: Variant) -> None:
    with tunnel(variant).pair() as (tls, plain):
        plain.send(payload(1000), Deadline(SECONDS))
        tls.read(1000, Deadline(SECONDS))
        assert tls.seen().digest == digest_of(1000)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_what_a_client_in_clear_says_before_the_handshake_arrives(tunnel: MakeCrossing, version: str) -> None:
    crossing = tunnel(Variant("client", version, "tcp"))
    with crossing.dial() as first, crossing.accept() as second:
        plain, tls = PlainPeer(first), TlsPeer(second, crossing.context, server=True)
        plain.send(payload(1000), Deadline(SECONDS))
        plain.fin()
        tls.handshake(Deadline(SECONDS))
        tls.read_until_close_notify(Deadline(SECONDS))
        assert tls.seen().digest == digest_of(1000)
