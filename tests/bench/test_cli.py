from __future__ import annotations

import pytest

from bench.cli import main


def test_an_unknown_peer_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--peers", "stunnel,nobody"]) == 1
    assert "nobody: known are stunnel, haproxy, hitch" in capsys.readouterr().err


def test_a_profile_needs_a_measure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile"]) == 1
    assert "profile what?" in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "-1", "many"])
def test_rounds_are_counted_from_one(rounds: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--rounds", rounds])
    assert end.value.code == 2
