"""The one door to OpenSSL's error queue, which belongs to the running thread.

A call that may fail is made through `check` or `check_pointer` with the queue emptied before it (`begin`), so
that what is read afterwards is of that call.
"""

from __future__ import annotations

from typing import Any, NoReturn

from culvert.errors import TlsError
from culvert.openssl._lib import ffi, lib


def begin() -> None:
    """Empty the queue; to be called before each call that is checked."""
    lib.ERR_clear_error()


def fail(doing: str) -> NoReturn:
    """Raise TlsError with the queue, oldest first, and empty it."""
    raise TlsError(doing, take_reasons())


def check(result: int, doing: str) -> int:
    """Give ``result`` back when it is positive, else raise TlsError."""
    if result <= 0:
        fail(doing)
    return result


def check_pointer(pointer: Any, doing: str) -> Any:
    """Give ``pointer`` back when it is not NULL, else raise TlsError."""
    if pointer == ffi.NULL:
        fail(doing)
    return pointer


def take_reasons() -> tuple[str, ...]:
    """The texts of the queue, oldest first; it is empty afterwards."""
    reasons = []
    data, flags = ffi.new("const char **"), ffi.new("int *")
    while code := lib.ERR_get_error_all(ffi.NULL, ffi.NULL, ffi.NULL, data, flags):
        detail = ffi.string(data[0]).decode("utf-8", "replace") if flags[0] & lib.ERR_TXT_STRING else ""
        reasons.append(f"{reason(code)}: {detail}" if detail else reason(code))
    return tuple(reasons)


def reason(code: int) -> str:
    """What an error code says, in OpenSSL's words ("http request"); its number when OpenSSL has none."""
    if lib.ERR_GET_LIB(code) == lib.ERR_LIB_SYS:
        return _text(code).rsplit(":", 1)[-1]
    text = lib.ERR_reason_error_string(code)
    return ffi.string(text).decode() if text != ffi.NULL else f"reason({lib.ERR_GET_REASON(code)})"


def describe(code: int) -> str:
    """An error code as OpenSSL prints it, and the alert's number where the peer's alert was the reason.

    ``error:0A00009C:SSL routines::http request``, or ``error:0A000418:SSL routines::tlsv1 alert unknown ca:
    SSL alert number 48``; ERR_error_string_n(3).
    """
    text = _text(code)
    if lib.ERR_GET_LIB(code) != lib.ERR_LIB_SSL:
        return text
    alert = lib.ERR_GET_REASON(code) - lib.SSL_AD_REASON_OFFSET
    return f"{text}: SSL alert number {alert}" if 0 <= alert <= 255 else text


def _text(code: int) -> str:
    buffer = ffi.new("char[]", 256)
    lib.ERR_error_string_n(code, buffer, len(buffer))
    return str(ffi.string(buffer).decode("utf-8", "replace"))
