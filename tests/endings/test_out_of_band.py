"""A TCP urgent octet loses nothing that comes before or after it."""

from __future__ import annotations

import hashlib
import socket

import pytest

from tests.endings.conftest import MakeCrossing
from tests.endings.matrix import MODES
from tests.proxies import Deadline, Variant, Wire
from tests.proxies.configuration import Mode

pytestmark = [pytest.mark.integration]

SECONDS = 15.0
BEFORE, AFTER, URGENT = b"b" * 1000, b"a" * 1000, b"!"
WITHOUT_IT = hashlib.sha256(BEFORE + AFTER).hexdigest()
IN_THE_STREAM = hashlib.sha256(BEFORE + URGENT + AFTER).hexdigest()

every_mode = pytest.mark.parametrize("mode", MODES)
every_moment = pytest.mark.parametrize("wait", [False, True], ids=["at once", "one by one"])


@every_mode
@every_moment
def test_what_follows_an_urgent_octet_of_plain_arrives(tunnel: MakeCrossing, mode: Mode, wait: bool) -> None:
    with tunnel(Variant(mode, "TLSv1.3", "tcp")).pair() as (tls, plain):
        plain.send(BEFORE, Deadline(SECONDS))
        if wait:
            tls.read(len(BEFORE), Deadline(SECONDS))
        plain.sock.send(URGENT, socket.MSG_OOB)
        plain.send(AFTER, Deadline(SECONDS))
        tls.read(len(BEFORE + AFTER), Deadline(SECONDS))
        plain.fin()
        tls.read_until_close_notify(Deadline(SECONDS))
        assert tls.seen().digest in (WITHOUT_IT, IN_THE_STREAM)  # SO_OOBINLINE is the operator's choice


@every_mode
@every_moment
def test_what_follows_an_urgent_octet_between_records_arrives(
    tunnel: MakeCrossing, mode: Mode, wait: bool
) -> None:
    with tunnel(Variant(mode, "TLSv1.3", "tcp")).pair() as (tls, plain):
        tls.send(BEFORE, Deadline(SECONDS))
        if wait:
            plain.read(len(BEFORE), Deadline(SECONDS))
        tls.sock.send(URGENT, socket.MSG_OOB)
        tls.hold(AFTER)
        tls.send_close_notify(Deadline(SECONDS))
        seen = plain.read_to_end(Deadline(SECONDS))
        assert (seen.digest, seen.wire) == (WITHOUT_IT, Wire.FIN)
