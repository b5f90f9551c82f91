"""A name server for tests: answers from a table that may change, in a thread, on 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset


class NameServer:
    """Knows A records of some names, each with one time to live."""

    def __init__(self, seconds: int) -> None:
        self.records: dict[str, list[str]] = {}
        self.questions: list[str] = []
        self._seconds = seconds
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, peer = self._socket.recvfrom(4096)
            if not data:
                return
            self._socket.sendto(self._answer(dns.message.from_wire(data)), peer)

    def _answer(self, asked: dns.message.Message) -> bytes:
        answer = dns.message.make_response(asked)
        answer.flags |= dns.flags.RA
        question = asked.question[0]
        self.questions.append(question.name.to_text(omit_final_dot=True))
        hosts = self.records.get(self.questions[-1], [])
        if hosts and question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, self._seconds, "IN", "A", *hosts))
        return answer.to_wire()

    def close(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


@contextmanager
def serving_names(seconds: int) -> Iterator[NameServer]:
    server = NameServer(seconds)
    try:
        yield server
    finally:
        server.close()
