"""What a further service costs that shares its address: memory, and nothing at each connection."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.names import configuration, make_identities
from culvert.tls import NameTable
from tests.daemon.scene import culvert
from tests.proxies.procfs import tree

pytestmark = pytest.mark.integration

FEW, MANY = 50, 550
KIBIBYTES = 24
"""Of all processes together, for a service with a certificate and a key of its own.  With ten thousand of
them it is less, since whole pages count (python -m bench.names); a context of OpenSSL for each would be far
more."""


def test_a_further_service_costs_less_than_a_context_of_openssl(tmp_path: Path) -> None:
    make_identities(tmp_path, MANY)
    sizes = []
    for count in (FEW, MANY):
        text = configuration(tmp_path, count, 0).replace("127.0.0.1:0", "127.0.0.1:@PORT@")
        with culvert(text, tmp_path / str(count)) as daemon:
            sizes.append(sum(map(own_memory, tree(daemon.process.pid))))
    assert (sizes[1] - sizes[0]) / (MANY - FEW) / 1024 < KIBIBYTES


def own_memory(pid: int) -> int:
    """Octets that no other program has a share in: what is mapped from files is divided among all daemons
    of the machine, so it changes when another test ends.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))


def test_a_name_is_cut_once_for_each_length_and_not_for_each_pattern() -> None:
    table: NameTable[int] = NameTable()
    for number in range(10_000):
        table.add(f"*.{number:05}.example", number)
    assert len(table._endings) == 1
    match = table.find(b"www.04711.example")
    assert match is not None
    assert match.target == 4711
