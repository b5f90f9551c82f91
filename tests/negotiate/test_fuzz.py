"""The contract of the fuzzer, for made up conversations; ``make fuzz`` looks further."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.__main__ import CORPUS
from fuzz.contract import MARK, TARGETS, check, seed
from tests.negotiate.scripts import GOOD

FEW = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
LINES = {word for good in GOOD for text in (good.near, good.far) for word in text.split(b"\n")[:3]}
WORDS = sorted({word + end for word in LINES for end in (b"", b"\n")})
pieces = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from([b"\r\n", b"\n", b"\0", MARK, b"<", b">", b"{99999}\r\n"]),
    st.sampled_from([b"A" * 9000, b"\x1b[2J"]),
    st.binary(max_size=20),
)
inputs = st.builds(
    lambda each, last: b"".join(each) + last, st.lists(pieces, max_size=12), st.binary(min_size=1, max_size=1)
)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_peers_say_a_script_is_content_or_says_why_not(name: str) -> None:
    target = TARGETS[name]
    good = [seed(each) for each in target.good()]

    @FEW
    @given(st.sampled_from(good), st.integers(0, 200), st.integers(0, 40), inputs)
    def contract(whole: bytes, place: int, gone: int, put: bytes) -> None:
        check(target, whole[:place] + put[:-1] + whole[place + gone : -1] + put[-1:])

    contract()


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_has_the_good_conversations(name: str) -> None:
    """python -c "from tests.negotiate.test_fuzz import write; write()" writes it anew."""
    kept = {each.read_bytes() for each in (CORPUS / name).iterdir()}
    assert kept >= {seed(each) for each in TARGETS[name].good()}
    for each in kept:
        check(TARGETS[name], each)


def write() -> None:
    """Write the good conversations into the corpus."""
    for target in TARGETS.values():
        (CORPUS / target.name).mkdir(parents=True, exist_ok=True)
        for number, good in enumerate(target.good(), 1):
            (CORPUS / target.name / f"good-{number}").write_bytes(seed(good))
