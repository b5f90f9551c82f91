"""`culvert sessiond`: arguments that are wrong, and addresses that cannot be had."""

from __future__ import annotations

import socket

import pytest

from culvert.cli import sessiond


@pytest.mark.parametrize("arguments", [["--size", "0"], ["--octets", "x"], ["1", "2"]])
def test_wrong_arguments_end_it_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        sessiond.run(arguments)
    assert end.value.code == 2


@pytest.mark.parametrize("address", ["/run/sessiond", "127.0.0.1:http server", "host.invalid:1"])
def test_an_address_that_is_none_ends_it_with_1(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sessiond.run([address]) == 1
    assert capsys.readouterr().err.startswith(f"culvert sessiond: {address}: ")


def test_a_port_that_is_taken_ends_it_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        assert sessiond.run(["--listen", f"127.0.0.1:{other.getsockname()[1]}"]) == 1
    assert "Address already in use" in capsys.readouterr().err


def test_the_help_warns_that_nothing_is_protected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        sessiond.run(["--help"])
    assert "neither authentication nor" in capsys.readouterr().out.replace("\n", " ")
