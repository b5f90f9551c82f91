"""One HTTP question to an OCSP responder (RFC 6960, A.1), within bounds of time and size.

aiohttp does the work and is imported when the first service that needs it is planned: others pay nothing.
A responder is a stranger: no redirects, cookies, proxies or compression, at most so many octets, so long.
Names are looked up in a thread (aiohttp's ThreadedResolver), never on the loop.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from culvert import __version__
from culvert.errors import PeerError

if TYPE_CHECKING:
    import aiohttp

_HEADERS = {
    "Content-Type": "application/ocsp-request",
    "Accept": "application/ocsp-response",
    "Accept-Encoding": "identity",
    "User-Agent": f"culvert/{__version__}",
}


class NoAnswer(PeerError):
    """The responder gave no answer: what was tried, and why it failed.

    late: true when it only took too long.
    """

    def __init__(self, doing: str, reason: str = "", *, late: bool = False) -> None:
        super().__init__(doing, reason)
        self.late = late


def load() -> None:
    """Import what ask() needs; takes a third of a second, and belongs before the fork."""
    import aiohttp  # noqa: F401


async def ask(url: str, question: bytes, *, connect: float | None, busy: float | None, most: int) -> bytes:
    """POST ``question`` and give back the body of the answer.

    connect: seconds until there is a connection, the look-up of the name included; busy: for all of it; None
    waits for ever.  most: octets of the answer.  Raises NoAnswer.
    """
    import aiohttp

    connector = aiohttp.TCPConnector(
        force_close=True, resolver=aiohttp.ThreadedResolver(), use_dns_cache=False
    )
    timeout = aiohttp.ClientTimeout(total=busy, connect=connect)
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            headers=_HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        ) as session:
            return await _post(session, url, question, most)
    except aiohttp.ConnectionTimeoutError as error:
        raise NoAnswer("s_connect: s_poll_wait: TIMEOUTocsp exceeded", late=True) from error
    except TimeoutError as error:
        raise NoAnswer("s_poll_wait: TIMEOUTbusy exceeded", late=True) from error
    except aiohttp.ClientConnectorDNSError as error:
        raise NoAnswer("Failed to resolve the OCSP responder address", _reason(error.os_error)) from error
    except aiohttp.ClientConnectorError as error:
        raise NoAnswer("s_connect", _reason(error.os_error)) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NoAnswer("No OCSP response", _reason(error)) from error


async def _post(session: aiohttp.ClientSession, url: str, question: bytes, most: int) -> bytes:
    from yarl import URL

    async with session.post(URL(url, encoded=True), data=question, allow_redirects=False) as response:
        if response.status != 200:
            raise NoAnswer("No OCSP response", f"HTTP status {response.status}")
        answer = bytearray()
        async for piece in response.content.iter_any():
            answer += piece
            if len(answer) > most:
                raise NoAnswer("No OCSP response", f"more than {most} bytes")
        return bytes(answer)


def _reason(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and number > 0:  # asyncio puts words of its own into strerror
        return f"{os.strerror(number)} ({number})"
    return str(error) or type(error).__name__
