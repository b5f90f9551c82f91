"""Which names DNS is asked for: those that /etc/hosts does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from culvert.config.values import Address
from culvert.net import names

FAR = (Address(host="far.example", port="1"),)


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "hosts"
    file.write_text("127.0.0.1 localhost\n")
    monkeypatch.setattr(names, "_HOSTS", file)
    return file


def test_a_name_of_the_hosts_file_needs_no_dns_from_the_moment_it_stands_there(hosts: Path) -> None:
    assert names.need_dns(FAR)
    hosts.write_text("127.0.0.1 localhost # far.example\n")
    assert names.need_dns(FAR)
    hosts.write_text("127.0.0.1 localhost\n192.0.2.1 near.example far.example\n")
    assert not names.need_dns(FAR)
    hosts.unlink()
    assert names.need_dns(FAR)


def test_the_hosts_file_is_not_read_again_while_it_is_the_same(
    hosts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, times = Path.read_text, []

    def counted(path: Path, *args: str, **more: str) -> str:
        times.append(path)
        return read(path, *args, **more)

    monkeypatch.setattr(Path, "read_text", counted)
    for _ in range(3):
        assert names.need_dns(FAR)
    assert times == [hosts]
