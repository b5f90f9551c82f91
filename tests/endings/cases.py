"""The endings that a connection can have, and what each peer must then see.

T is the TLS peer and P the plain peer; who of them connected and who was connected to does not matter here.

The right answers
    FIN of P                    close_notify, then FIN, at T, after all that P sent
    close_notify of T           FIN at P, after all that T sent; P may go on sending
    RST of P                    RST at T, and no close_notify
    RST of T                    RST at P
    T ends without close_notify RST at P, unless T had our close_notify before: then it is a normal end
    a broken record of T        RST at P
What one peer sent and its kernel handed over before the ending arrives whole, then the ending.

Unix sockets have no RST, and SO_LINGER means nothing to them.  The kernel (net/unix/af_unix.c, function
unix_release_sock) shows ECONNRESET to a peer only when the closing side left octets of that very peer
unread.  A proxy can do that when P has sent something, by leaving the last octet that it passed on in the
kernel's queue (and must then take it out before a clean end).  Otherwise it can only close both directions
at once: the peer meets an end of file together with POLLHUP, and its writes fail with EPIPE, while after a
half-close that was passed on there is no POLLHUP and it can go on writing.  So on a Unix socket an abort is
ECONNRESET, or a hang-up before P has ended.  When P never sent anything and has ended its own direction,
both endings look the same. Where P must show an abort itself, it leaves octets unread.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.endings.judging import (
    ENDED_PLAIN,
    ENDED_UNCLEAN,
    MIB,
    REQUEST,
    SOME,
    Expected,
    Script,
    clean_plain,
    clean_tls,
    reset_plain,
    reset_tls,
)
from tests.endings.scripts import (
    answer_close_notify,
    ask_and_read,
    ask_then,
    both_end_plain,
    both_end_tls,
    both_reset_plain,
    both_reset_tls,
    break_record,
    close_with_unread,
    cut,
    damaged,
    dribble_plain,
    dribble_tls,
    fin_first,
    fin_first_then_some,
    read_all,
    read_some_then_all,
    reply_after_end,
    reset_after_close_notify,
    reset_after_reading,
    send_and_fin,
    send_and_reset,
    tls_just_reads,
    upload_tls,
    vanish,
)
from tests.proxies import SLOW, SMALL


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    name: str
    story: str
    tls: Script
    plain: Script
    tls_sees: Expected | None
    plain_sees: Expected | None
    measured: bool = False
    """It stands in the measured table that the project started from."""
    slow_tls: bool = False
    slow_plain: bool = False
    dribbles: bool = False
    unix: bool = True
    """P's part can be played on a Unix socket."""

    @property
    def patient(self) -> bool:
        """It takes long without much work."""
        return self.slow_tls or self.slow_plain or self.dribbles

    @property
    def tls_buffer(self) -> int | None:
        return SMALL if self.slow_tls else None

    @property
    def plain_buffer(self) -> int | None:
        return SMALL if self.slow_plain else None


CASES = (
    Case("A", "T asks and sends close_notify; P then replies 4 MiB",
         ask_then(), reply_after_end(4 * MIB), clean_tls(4 * MIB), clean_plain(REQUEST),
         measured=True),
    Case("B", "the same, T sends FIN behind its close_notify",
         ask_then(fin=True), reply_after_end(4 * MIB), clean_tls(4 * MIB), clean_plain(REQUEST),
         measured=True),
    Case("C", "the same as A, T reads slowly (SO_RCVBUF 4096, 16 KiB in 2 ms)",
         ask_then(pace=SLOW), reply_after_end(4 * MIB), clean_tls(4 * MIB), clean_plain(REQUEST),
         measured=True, slow_tls=True),
    Case("C2", "T sends 4 MiB, close_notify and FIN at once; P reads slowly",
         upload_tls(4 * MIB), read_all(pace=SLOW), clean_tls(0), clean_plain(4 * MIB), slow_plain=True),
    Case("D", "T sends 1000 B and a bare FIN, no close_notify",
         vanish, read_all(abort=True), ENDED_UNCLEAN, reset_plain(SOME), measured=True),
    Case("D2", "T sends 1000 B and resets",
         reset_after_reading, read_some_then_all, None, reset_plain(SOME), measured=True),
    Case("D3", "T sends 1000 B, half of a further record and FIN",
         break_record(cut), read_some_then_all, ENDED_UNCLEAN, reset_plain(SOME)),
    Case("D4", "T sends 1000 B, then a record with a wrong bit",
         break_record(damaged), read_some_then_all, ENDED_UNCLEAN, reset_plain(SOME)),
    Case("E", "P sends 1000 B and FIN; T answers with close_notify",
         answer_close_notify, send_and_fin, clean_tls(SOME), clean_plain(0)),
    Case("E2", "P sends 1000 B and resets",
         tls_just_reads, send_and_reset(SOME), reset_tls(SOME), None, measured=True, unix=False),
    Case("E3", "P resets before any byte",
         tls_just_reads, send_and_reset(0), reset_tls(0), None, unix=False),
    Case("E4", "P sends 1000 B and closes with T's request unread, which the kernel makes a reset",
         ask_and_read(close_notify=False), close_with_unread, reset_tls(SOME), None),
    Case("E5", "the same after T's close_notify",
         ask_and_read(close_notify=True), close_with_unread, reset_tls(SOME), None),
    Case("F", "P sends FIN first; T then uploads 1 MiB and ends",
         upload_tls(MIB, wait_end=True), fin_first, clean_tls(0), clean_plain(MIB), measured=True),
    Case("F2", "the same, T leaves without close_notify after it had ours: a normal end",
         upload_tls(MIB, wait_end=True, close_notify=False), fin_first, clean_tls(0), clean_plain(MIB)),
    Case("F3", "P sends FIN first; T then sends 1000 B and resets: all of it, then an end of any kind",
         reset_after_close_notify, fin_first_then_some, None, ENDED_PLAIN),
    Case("G", "T sends close_notify; P then dribbles 1000 B in 0.4 s",
         ask_then(), dribble_plain(), clean_tls(SOME), clean_plain(REQUEST), dribbles=True),
    Case("G2", "P sends FIN; T then dribbles 1000 B in 0.4 s",
         dribble_tls(), fin_first, clean_tls(0), clean_plain(SOME), dribbles=True),
    Case("H", "T and P send 1000 B and end at the same time",
         both_end_tls, both_end_plain, clean_tls(SOME), clean_plain(SOME)),
    Case("I", "T and P reset at the same time; the next connection is not hurt",
         both_reset_tls, both_reset_plain, clean_tls(SOME), None),
)  # fmt: skip
