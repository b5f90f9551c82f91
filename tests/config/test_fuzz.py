"""Whatever the bytes are: a Configuration, or ConfigErrors with at least one error; nothing else."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from culvert.config import Configuration, load_bytes
from culvert.config.model import GLOBAL, SERVICE
from culvert.config.options import Option
from culvert.config.values import BadValue
from culvert.errors import ConfigErrors
from tests.config.corpus import ACCEPTED, BROKEN

OPTIONS = [each for each in (*GLOBAL, *SERVICE) if each.name != "include"]
WORDS = [
    "yes",
    "no",
    "0",
    "1",
    "-1",
    "all",
    "443",
    "127.0.0.1:443",
    "/tmp/x",
    "a:TCP_NODELAY=1",
    "NO_TICKET",
    "",
    "web:*",
]
WORDS += sorted({word for each in OPTIONS for word in each.kind.words})

names = st.sampled_from([each.name for each in OPTIONS])
values = st.one_of(st.sampled_from(WORDS), st.text(max_size=30))
lines = st.one_of(
    st.builds("{} = {}".format, names, values),
    st.builds("[{}]".format, st.text(max_size=10)),
    st.text(max_size=40),
)
files = st.lists(lines, max_size=25).map(lambda each: "\n".join(each).encode("utf-8", "surrogatepass"))
FEW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _contract(data: bytes) -> None:
    refused = None
    try:
        assert isinstance(load_bytes(data), Configuration)
    except ConfigErrors as errors:
        refused = errors
    if refused is not None:
        assert refused.errors
        assert all(error.reason and str(error).isprintable() for error in refused.errors)


@FEW
@given(files)
def test_files_of_real_options_and_odd_values(data: bytes) -> None:
    _contract(data)


@FEW
@given(st.binary(max_size=2_000).filter(lambda data: b"include" not in data.lower()))
def test_files_of_any_bytes(data: bytes) -> None:
    _contract(data)


@FEW
@given(
    st.sampled_from([case.text.encode() for case in (*ACCEPTED, *BROKEN) if "include" not in case.text]),
    st.integers(0, 400),
    st.integers(0, 40),
    st.binary(max_size=20).filter(lambda data: b"include" not in data.lower()),
)
def test_files_with_a_hole_and_a_patch(data: bytes, start: int, length: int, patch: bytes) -> None:
    _contract(data[:start] + patch + data[start + length :])


@FEW
@given(st.sampled_from(OPTIONS), values)
def test_a_value_is_read_or_refused_with_a_reason(option: Option, value: str) -> None:
    reason = "none needed"
    try:
        option.kind.parse(value.strip())
    except BadValue as refused:
        reason = refused.reason
    assert reason


@FEW
@given(st.sampled_from(OPTIONS), st.sampled_from(WORDS))
def test_a_value_that_was_read_can_be_shown(option: Option, value: str) -> None:
    try:
        parsed = option.kind.parse(value)
    except BadValue:
        return
    assert isinstance(option.kind.render(parsed), str)
