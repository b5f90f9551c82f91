"""One connection taken over from inetd: read from descriptor 0, written to descriptor 1, and then the end.

Mostly both are the same socket.  They may also be two pipes, as under a shell or ssh (culvert.engine.pipes).
"""

from __future__ import annotations

import os
import socket
import stat

from culvert.daemon import channel
from culvert.daemon.channel import Order
from culvert.daemon.generation import Generation
from culvert.daemon.worker import Worker
from culvert.engine.pipes import PairOfPipes
from culvert.observe.ids import Ids
from culvert.observe.log import INFO
from culvert.observe.outlet import Outlet


def serve(generation: Generation, outlet: Outlet, ids: Ids) -> int:
    """Carry the connection of descriptors 0 and 1 to its end; returns 0 whatever became of it."""
    outlet.use(generation.configuration.options, generation.sinks)
    ours, theirs = channel.pair()
    with ours, theirs:
        worker = Worker(theirs, outlet)
        worker.start(generation.plans, [[] for _ in generation.plans], ids, first=True)
        pipes = None if _is_one_socket() else PairOfPipes(0, 1)
        near = socket.socket(fileno=os.dup(0)) if pipes is None else pipes.socket
        near.setblocking(False)
        family = int(near.family)
        worker.carry(near.detach(), family)
        channel.send(ours, Order.RETIRE)
        worker.serve()
        if pipes is not None:
            pipes.wait()
    outlet.log.write(INFO, "The connection has ended")
    return 0


def _is_one_socket() -> bool:
    first, second = os.fstat(0), os.fstat(1)
    return stat.S_ISSOCK(first.st_mode) and os.path.samestat(first, second)
