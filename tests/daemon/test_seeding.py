"""RNDfile and EGD: read within their bounds, told in the log, and the seed is renewed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from culvert.config import GlobalOptions
from culvert.daemon import seeding
from culvert.tls import randomness
from tests.daemon.scene import ask_once, configuration, culvert, echoing, reload
from tests.net.test_egd import daemon, generous
from tests.pki import Pki


class Mixed:
    """Takes the place of the pool: what was mixed into it, and the log."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.data = b""
        self.log: list[tuple[int, str]] = []
        monkeypatch.setattr(randomness, "stir", self._stir)

    def _stir(self, data: bytes) -> None:
        self.data += data

    def seed(self, **options: object) -> None:
        seeding.seed(GlobalOptions(**options), lambda level, text: self.log.append((level, text)))  # type: ignore[arg-type]


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> Mixed:
    return Mixed(monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "seed"
    path.write_bytes(bytes(range(256)) * 10)
    path.chmod(0o644)
    return path


def test_nothing_is_read_unasked(mixed: Mixed) -> None:
    mixed.seed()
    assert (mixed.data, mixed.log) == (b"", [(7, "No PRNG seeding was required")])


def test_a_seed_file_is_read_up_to_its_bound_and_written_anew(mixed: Mixed, file: Path) -> None:
    before = file.read_bytes()
    mixed.seed(rnd_file=str(file), rnd_bytes=100)
    assert mixed.data == before[:100]
    assert len(file.read_bytes()) == seeding.WRITTEN
    assert file.read_bytes() != before[: seeding.WRITTEN]
    assert file.stat().st_mode & 0o777 == 0o600
    assert mixed.log == [
        (7, f"Snagged 100 random bytes from {file}"),
        (7, f"Wrote 1024 new random bytes to {file}"),
        (7, "PRNG seeded successfully"),
    ]


def test_it_is_left_alone_where_that_is_asked_for(mixed: Mixed, file: Path) -> None:
    before = file.read_bytes()
    mixed.seed(rnd_file=str(file), rnd_overwrite=False)
    assert (file.read_bytes(), mixed.data) == (before, before[:1024])


def test_a_device_is_read_and_never_written(mixed: Mixed) -> None:
    mixed.seed(rnd_file="/dev/urandom", rnd_bytes=32)
    assert len(mixed.data) == 32
    assert not any("Wrote" in text or level < 7 for level, text in mixed.log)


def test_a_link_is_followed_for_reading_only(mixed: Mixed, file: Path) -> None:
    before = file.read_bytes()
    link = file.with_name("link")
    link.symlink_to(file)
    mixed.seed(rnd_file=str(link))
    assert (mixed.data, file.read_bytes()) == (before[:1024], before)
    assert (4, f"Failed to write strong random data to {link}: it cannot be opened for writing") in mixed.log


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_file_that_gives_nothing_stops_no_start(mixed: Mixed, tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)  # nobody writes: it must not be waited for
    mixed.seed(rnd_file=str(path))
    assert mixed.data == b""
    if kind != "pipe":
        assert mixed.log[0][0] == 6
        assert mixed.log[0][1].startswith(f"Cannot retrieve any random data from {path}: ")


def test_an_egd_is_asked(mixed: Mixed, tmp_path: Path) -> None:
    with daemon(tmp_path / "egd", generous) as path:
        mixed.seed(egd=path)
    assert mixed.data == b"r" * seeding.FROM_EGD
    assert mixed.log[0] == (7, f"Snagged 255 random bytes from EGD socket {path}")


def test_an_egd_that_is_not_there_is_warned_of(mixed: Mixed, tmp_path: Path) -> None:
    mixed.seed(egd=str(tmp_path / "none"))
    assert mixed.log[0] == (4, f"EGD socket {tmp_path}/none: No such file or directory (2)")


@pytest.mark.integration
def test_the_daemon_seeds_at_the_start_and_at_a_reload(pki: Pki, file: Path, tmp_path: Path) -> None:
    with echoing() as echo:
        more = f"RNDfile = {file}\nRNDbytes = 64\nsetEnv = HOME=/\n"
        text = configuration(pki, echo.port, more=more).replace("debug = info", "debug = debug")
        with culvert(text, tmp_path / "daemon") as proxy:
            proxy.wait_line(f"LOG7.ui.: Snagged 64 random bytes from {file}")
            first = file.read_bytes()
            reload(proxy)
            assert file.read_bytes() != first
            ask_once(pki, proxy.address)
