"""Which far end has the fewest connections (`failover = leastconn`), counted over all workers.

The counts lie in the memory of culvert.tunnel.seats: what a killed worker had is forgotten when another one
takes its place.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from culvert.net.addresses import Endpoint
from culvert.tunnel.seats import Seats

_MOST: Final = 60_000  # what the memory counts for one address; more are not told apart


class Balance:
    """The connections of one service to each of its far ends."""

    def __init__(self, seats: Seats) -> None:
        """``seats``: made before the fork.  Raises SystemRefusal when there is no room for this process."""
        self._seats = seats
        self._taken: dict[int, bytes] = {}
        seats.occupy()

    def order(self, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """These, those with the fewest connections first; of equals anybody."""
        shuffled = random.sample(endpoints, len(endpoints))  # no secret: nobody gains by guessing it
        return sorted(shuffled, key=lambda each: self._seats.of_host(_mark(each)))

    def chosen(self, tunnel: int, endpoint: Endpoint) -> None:
        """A tunnel, known by its carrier's handle, has this far end, or none any more of those before.

        It counts from the attempt on, or a burst of clients would all be led to the same one.
        """
        self.left(tunnel)
        mark = _mark(endpoint)
        if self._seats.take(mark, None, _MOST) is None:
            self._taken[tunnel] = mark

    def left(self, tunnel: int) -> None:
        """It is over, or never had one."""
        mark = self._taken.pop(tunnel, None)
        if mark is not None:
            self._seats.leave(mark, _MOST)


def _mark(endpoint: Endpoint) -> bytes:
    return blake2b(endpoint.packed, digest_size=8).digest()
