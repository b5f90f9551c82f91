"""The little XML that opens an XMPP stream: tags and their attributes, one after the other.

There is no document type, no processing instruction but the declaration, no comment, no reference to an
entity that would be expanded, and no text between the tags (RFC 6120, 11): such things are refused, so
nothing can grow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from culvert.negotiate.failures import UnexpectedReply
from culvert.negotiate.steps import Peer, Talk, until

_TAG_MOST: Final = 4096  # octets
_DEEP: Final = 8
_NAME: Final = r"[A-Za-z_][\w.:-]*"
_TAG: Final = re.compile(
    rf"""<(?P<close>/?)(?P<name>{_NAME})(?P<attributes>(?:\s+{_NAME}\s*=\s*(?:'[^'<]*'|"[^"<]*"))*)\s*(?P<empty>/?)>""",
    re.ASCII,
)
_ATTRIBUTE: Final = re.compile(rf"""({_NAME})\s*=\s*('[^'<]*'|"[^"<]*")""", re.ASCII)
_DECLARATION: Final = re.compile(r"""<\?xml\s+version\s*=\s*(?:'1\.0'|"1\.0")[^<>?]*\?>""", re.ASCII)
_FORBIDDEN: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, 2.2


class Tag(NamedTuple):
    """A tag.  local: its name without a prefix; quoted: the attributes with their quotation marks."""

    text: str
    local: str
    opens: bool  # an element begins, and its content follows
    closes: bool  # an element ends; neither of both: the element is empty
    quoted: Mapping[str, str]

    @property
    def attributes(self) -> Mapping[str, str]:
        """Name -> text as it stands there; entities are not resolved."""
        return {name: value[1:-1] for name, value in self.quoted.items()}


def next_tag(peer: Peer) -> Talk[Tag]:
    """The next tag; an XML declaration before it is passed over."""
    text = yield from _markup(peer)
    if _DECLARATION.fullmatch(text):
        text = yield from _markup(peer)
    return _parse(text)


def element(peer: Peer) -> Talk[list[Tag]]:
    """All tags of the next element, its own first.  Text in it is not told."""
    tags = [(yield from next_tag(peer))]
    depth = _depth(tags[0])
    if depth < 0:
        raise UnexpectedReply("The XMPP stream ended", tags[0].text.encode())
    while depth:
        tags.append(_parse((yield from _markup(peer, text_before=True))))
        depth += _depth(tags[-1])
        if depth > _DEEP:
            raise UnexpectedReply("XML nested too deep", tags[-1].text.encode())
    return tags


def _depth(tag: Tag) -> int:
    return tag.opens - tag.closes


def _markup(peer: Peer, *, text_before: bool = False) -> Talk[str]:
    """The next tag, as it stands there."""
    before, found = yield from _octets(peer)
    if before.strip() and not text_before:
        raise UnexpectedReply("Text between XML tags", before)
    try:
        text = found.decode()
    except UnicodeDecodeError:
        raise UnexpectedReply("XML that is not UTF-8", found) from None
    if _FORBIDDEN.search(text):
        raise UnexpectedReply("A character that XML does not have", found)
    return text


def _octets(peer: Peer) -> Talk[tuple[bytes, bytes]]:
    """What stands before the next tag, and the tag; a `>` within quotation marks does not end it."""
    part = yield from until(peer, b">", _TAG_MOST)
    before, mark, part = part.partition(b"<")
    found, quote = mark + part, _quote_left(b"", part)
    if not mark:
        raise UnexpectedReply("Not the XML of a stream", before)
    while quote:
        part = yield from until(peer, b">", _TAG_MOST)
        found, quote = found + part, _quote_left(quote, part)
        if len(found) > _TAG_MOST:
            raise UnexpectedReply("XML tag too long", found)
    return before, found


def _quote_left(quote: bytes, octets: bytes) -> bytes:
    """The quotation mark that is still open behind ``octets``, or nothing; ``quote`` is open before them."""
    for each in re.findall(rb"['\"]", octets):
        if not quote:
            quote = each
        elif each == quote:
            quote = b""
    return quote


def _parse(text: str) -> Tag:
    found = _TAG.fullmatch(text)
    if found is None or (found["close"] and (found["attributes"] or found["empty"])):
        raise UnexpectedReply("Not the XML of a stream", text.encode())
    quoted = dict(_ATTRIBUTE.findall(found["attributes"]))
    closes = bool(found["close"])
    opens = not closes and not found["empty"]
    return Tag(text, found["name"].rpartition(":")[2], opens, closes, quoted)
