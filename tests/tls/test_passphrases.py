"""Encrypted keys: asked for on the terminal, three times, once for all."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from culvert import tls
from culvert.errors import ConfigErrors, TlsError
from culvert.tls.passphrases import TRIES, Passphrases
from tests.pki import Pki, private_pem
from tests.tls.pairs import server

PHRASE = "open sesame"


class Operator:
    """Types the answers that the test has given, and remembers the questions."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, prompt: str) -> str:
        self.asked.append(prompt)
        if not self.answers:
            raise EOFError("the operator has gone home")
        return self.answers.pop(0)


@pytest.fixture
def locked(pki: Pki) -> str:
    """A file with the server's certificate and its encrypted key."""
    key = private_pem(pki.server.private_key, PHRASE.encode())
    return str(pki.write("locked.pem", key + pki.server.pem))


def test_a_key_is_opened_with_the_answer(pki: Pki, locked: str) -> None:
    operator = Operator(PHRASE)
    tls.build(server(pki, cert=(locked,)), Passphrases(operator))
    assert operator.asked == [f"Pass phrase for {locked}: "]


def test_three_answers_are_taken(pki: Pki, locked: str) -> None:
    tls.build(server(pki, cert=(locked,)), Passphrases(Operator("wrong", "", PHRASE)))
    operator = Operator(*["wrong"] * TRIES, PHRASE)
    with pytest.raises(ConfigErrors, match="the pass phrase was wrong 3 times"):
        tls.build(server(pki, cert=(locked,)), Passphrases(operator))
    assert len(operator.asked) == TRIES


def test_an_answer_serves_reloads_and_other_sections(pki: Pki, locked: str) -> None:
    operator = Operator(PHRASE)
    passphrases = Passphrases(operator)
    other = pki.write("locked-rsa.pem", private_pem(pki.server_rsa.private_key, PHRASE.encode()))
    for service in (
        server(pki, cert=(locked,)),
        server(pki, cert=(locked,)),
        server(pki, name="other", cert=(str(pki.server_rsa.cert),), key=str(other)),
    ):
        tls.build(service, passphrases)
    assert len(operator.asked) == 1


def test_a_new_phrase_after_a_reload_is_asked_for(pki: Pki, locked: str) -> None:
    operator = Operator(PHRASE, "another")
    passphrases = Passphrases(operator)
    tls.build(server(pki, cert=(locked,)), passphrases)
    changed = pki.write("changed.pem", private_pem(pki.server.private_key, b"another") + pki.server.pem)
    tls.build(server(pki, cert=(str(changed),)), passphrases)
    assert len(operator.asked) == 2


def test_nobody_to_ask_is_an_error_of_the_configuration(pki: Pki, locked: str) -> None:
    with pytest.raises(ConfigErrors, match="it is encrypted and the operator has gone home"):
        tls.build(server(pki, cert=(locked,)), Passphrases(Operator()))


def test_a_phrase_is_never_in_an_error(locked: str) -> None:
    with pytest.raises(TlsError) as caught:
        Passphrases(Operator("a secret", "a secret", "a secret")).open(Path(locked).read_bytes(), locked)
    assert "a secret" not in str(caught.value)


def in_terminal(
    program: str, arguments: list[str], answers: list[bytes], prompt: bytes = b"Pass phrase"
) -> tuple[int, bytes]:
    """Run a Python program with a terminal of its own; type each answer at its prompt.  Status and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", program, *arguments])
    output = b""
    prompts = 0
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # EIO: the program has ended
            break
        output += data
        if output.count(prompt) > prompts and output.endswith(b": "):
            prompts += 1
            os.write(terminal, answers.pop(0) + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), output


PROGRAM = """
import sys
from culvert import tls
from culvert.config.model import Service
for name in ("one", "two"):
    tls.build(Service(name=name, cert=(sys.argv[1],)))
print("loaded")
"""


def test_the_terminal_is_asked_without_echo(locked: str) -> None:
    status, output = in_terminal(PROGRAM, [locked], [b"wrong", PHRASE.encode()])
    assert status == 0, output
    assert output.count(b"Pass phrase for") == 2
    assert b"sesame" not in output
    assert b"wrong" not in output
    assert b"loaded" in output


def test_without_a_terminal_nobody_waits(locked: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, locked],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    assert done.returncode == 1
    assert "it is encrypted and there is no terminal to ask for its pass phrase on" in done.stderr
