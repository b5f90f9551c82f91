"""Half-closed tunnels: the other direction goes on while bytes move, and TIMEOUTclose longer."""

from __future__ import annotations

import pytest

from tests.endings.cases import Case
from tests.endings.conftest import MakeCrossing
from tests.endings.judging import MIB, REQUEST, SOME, clean_plain, clean_tls
from tests.endings.matrix import MODES, VARIANTS, judge
from tests.endings.scripts import ask_then, dribble_plain, dribble_tls, fin_first, reply_after_end, upload_tls
from tests.proxies import Deadline, Variant, Wire, payload
from tests.proxies.configuration import Mode

pytestmark = [pytest.mark.integration]

LONG = 4 * MIB
SLOWER = 0.15  # s between two pieces: 3 s in all, while TIMEOUTclose is 1 s
SECONDS = 20.0

TLS_ENDS_FIRST = Case(
    "", "T ends first", ask_then(), reply_after_end(LONG), clean_tls(LONG), clean_plain(REQUEST)
)
PLAIN_ENDS_FIRST = Case(
    "", "P ends first", upload_tls(LONG, wait_end=True), fin_first, clean_tls(0), clean_plain(LONG)
)
PLAIN_DRIBBLES = Case(
    "", "P dribbles", ask_then(), dribble_plain(SLOWER), clean_tls(SOME), clean_plain(REQUEST)
)
TLS_DRIBBLES = Case("", "T dribbles", dribble_tls(SLOWER), fin_first, clean_tls(0), clean_plain(SOME))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
@pytest.mark.parametrize("case", [TLS_ENDS_FIRST, PLAIN_ENDS_FIRST], ids=lambda case: case.story)
def test_four_mebibytes_follow_a_half_close(tunnel: MakeCrossing, variant: Variant, case: Case) -> None:
    assert judge(tunnel(variant), case) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [PLAIN_DRIBBLES, TLS_DRIBBLES], ids=lambda case: case.story)
def test_the_close_timer_runs_from_the_last_byte(tunnel: MakeCrossing, mode: Mode, case: Case) -> None:
    crossing = tunnel(Variant(mode, "TLSv1.3", "tcp"), TIMEOUTclose="1", TIMEOUTidle="1")
    assert judge(crossing, case) is None


@pytest.mark.parametrize("mode", MODES)
def test_silence_after_the_close_notify_of_tls_ends_by_timeoutclose(tunnel: MakeCrossing, mode: Mode) -> None:
    crossing = tunnel(Variant(mode, "TLSv1.3", "tcp"), TIMEOUTclose="1")
    with crossing.pair() as (tls, plain):
        tls.hold(payload(REQUEST))
        tls.send_close_notify(Deadline(SECONDS))
        assert plain.read_to_end(Deadline(SECONDS)).wire is Wire.FIN
        assert tls.read_to_end(Deadline(SECONDS)).wire is not Wire.NOTHING
        crossing.proxy.wait_line("TIMEOUTclose exceeded")


@pytest.mark.parametrize("mode", MODES)
def test_silence_after_the_fin_of_plain_ends_by_timeoutclose(tunnel: MakeCrossing, mode: Mode) -> None:
    crossing = tunnel(Variant(mode, "TLSv1.3", "tcp"), TIMEOUTclose="1")
    with crossing.pair() as (tls, plain):
        plain.fin()
        seen = tls.read_to_end(Deadline(SECONDS))
        assert seen.close_notify
        assert seen.wire is not Wire.NOTHING
        assert plain.read_to_end(Deadline(SECONDS)).wire is not Wire.NOTHING
        crossing.proxy.wait_line("TIMEOUTclose exceeded")
