"""How OpenSSL and its engines ask for a pass phrase or a PIN: whoever loads a key says who answers.

Nobody is known outside of an `answering` block, and so nothing in a worker ever waits for a terminal.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from culvert.openssl._errors import check_pointer
from culvert.openssl._lib import ffi, lib

Answer = Callable[[str], bytes | None]
"""Takes OpenSSL's prompt, gives the phrase; None when there is none to give."""

_numbers = itertools.count(1)
_answers: dict[int, Answer] = {}
_log = logging.getLogger("culvert.openssl")


@contextmanager
def answering(answer: Answer) -> Iterator[tuple[Any, Any]]:
    """Yield the UI_METHOD and the data that make OpenSSL ask ``answer`` during the block."""
    number = next(_numbers)
    _answers[number] = answer
    try:
        yield check_pointer(lib.culvert_asking(), "allocate memory"), ffi.cast("void *", number)
    finally:
        del _answers[number]


def _unanswered(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    _log.error("a question for a pass phrase was not answered: %s", type(error).__name__)


@ffi.def_extern(error=0, onerror=_unanswered)  # type: ignore[untyped-decorator]
def culvert_on_prompt(ui: Any, string: Any) -> int:
    """Answer one prompt; 0 makes the call of OpenSSL that asked fail."""
    answer = _answers.get(int(ffi.cast("uintptr_t", lib.UI_get0_user_data(ui))))
    text = lib.UI_get0_output_string(string)
    prompt = "" if text == ffi.NULL else ffi.string(text).decode("utf-8", "replace")
    phrase = answer(prompt) if answer else None
    if phrase is None or b"\0" in phrase:
        return 0
    return int(lib.UI_set_result(ui, string, ffi.new("char[]", phrase)) >= 0)
