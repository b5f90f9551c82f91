"""docs/options.md out of the table: `python -m culvert.config.page > docs/options.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from culvert.config.model import GLOBAL, SERVICE
from culvert.config.options import Merge, Option
from culvert.config.sockets import ELSEWHERE, NAMES
from culvert.config.table import admission, certificates, endpoints, ocsp, process, proxying, running, tls
from culvert.config.tlsnames import OPTION_NAMES

HEAD = """\
# Options

This page is made from the table of options by `python -m culvert.config.page`; a test fails when it is
stale.

A configuration is made of lines `name = value` and `[section]`.  Lines that begin with `;` or `#` are
comments.  Names of options match in any case.  Options of services that stand before the first section are
the defaults of all sections.  Options of the daemon may stand there only.

*Since* is the first version of stunnel that has the option, or Culvert for our own.  *Reload*: whether a new
value takes effect on SIGHUP.  An option that **is not available** is read and checked like the others; a
value that asks for something then stops the start and says so.  Nothing is ignored.
"""
_TITLES = {
    process.Process: "The daemon",
    process.Library: "The TLS library",
    process.Windows: "Windows only",
    endpoints.Endpoints: "Both ends of a tunnel",
    certificates.Certificates: "Certificate and key",
    certificates.Trust: "Trusted certificates",
    certificates.Verification: "Checking the peer",
    tls.Tls: "TLS",
    tls.Sessions: "Sessions and shared keys",
    running.Timers: "Timers",
    running.Running: "Logging and identity",
    ocsp.Ocsp: "OCSP",
    endpoints.Negotiation: "Protocols before TLS",
    endpoints.Programs: "Programs",
    admission.Admission: "Who is let in",
    proxying.Proxying: "Behind and before proxies",
}
_MERGES = {
    Merge.LIST: "Repeatable: lines add up, and the first line of a section discards the global list.",
    Merge.JOIN: "Repeatable: lines add up, and a section adds to the global list.",
}


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Options of the daemon\n"]
    parts += [
        _chapter(title, _fields(topic, GLOBAL)) for topic, title in _TITLES.items() if _is_global(topic)
    ]
    parts += [_chapter("In any part", (process.INCLUDE,)), _reloads(), "## Options of services\n"]
    parts += [
        _chapter(title, _fields(topic, SERVICE)) for topic, title in _TITLES.items() if not _is_global(topic)
    ]
    parts += [_socket_names(), _tls_names()]
    return "\n".join(parts)


def _is_global(topic: type) -> bool:
    return topic in (process.Process, process.Library, process.Windows)


def _fields(topic: type, table: Iterable[Option]) -> list[Option]:
    return [each for each in table if each.attribute in topic.__annotations__]


def _chapter(title: str, options: Iterable[Option]) -> str:
    return "\n".join([f"### {title}\n", *(_entry(each) for each in options)])


def _entry(option: Option) -> str:
    lines = [f"#### {option.name}\n", f"{option.help}\n", *_facts(option)]
    return "\n".join(lines) + "\n"


def _facts(option: Option) -> Iterator[str]:
    yield f"- Value: {option.kind.shown}"
    if option.default_text:
        yield f"- Default: {option.default_text}{f' {option.unit}' if option.unit else ''}"
    if option.aliases:
        yield f"- Also called: {', '.join(option.aliases)}"
    if option.merge in _MERGES:
        yield f"- {_MERGES[option.merge]}"
    if option.mode:
        yield f"- Has an effect in {option.mode} sections only."
    yield f"- Since {option.since}. Reload: {'yes' if option.reloadable else 'no'}{_but(option)}."
    if option.daemon_only:
        yield "- For the daemon only: refused where a program embeds Culvert."
    if option.obsolete:
        yield f"- {option.obsolete}."
    if option.missing:
        yield f"- **It {option.missing}.**{_accepted(option)}"


def _accepted(option: Option) -> str:
    values = [option.kind.render(each) for each in (option.default, *option.neutral)]
    shown = [f"`{each}`" for each in values if each]
    return f" Accepted: {', '.join(shown)}." if shown else ""


def _reloads() -> str:
    """Every option of the daemon; those of services all change."""
    lines = ["### What a reload changes\n", "| Option | Changes at SIGHUP |", "| --- | --- |"]
    for each in GLOBAL:
        if each.available:
            fixed = "no, a change is refused" if each.act else "no, a changed line is told in the log"
            lines.append(f"| {each.name} | {f'yes{_but(each)}' if each.reloadable else fixed} |")
    return "\n".join(lines) + "\n\nOptions of services change without exception.\n"


def _but(option: Option) -> str:
    return f", but {option.reload_limit}" if option.reload_limit else ""


def _socket_names() -> str:
    lines = ["### Names of `socket`\n", "| Name | Value |", "| --- | --- |"]
    for name, form in NAMES.items():
        lines.append(f"| {name} | {ELSEWHERE.get(name) or form.value} |")
    return "\n".join(lines) + "\n"


def _tls_names() -> str:
    names = ", ".join(OPTION_NAMES)
    return (
        f"### Names of `options`\n\n`culvert -options` lists those that the OpenSSL at hand has.\n\n{names}\n"
    )


if __name__ == "__main__":
    sys.stdout.write(page())
