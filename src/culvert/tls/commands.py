"""The lines of `config`: commands for OpenSSL's own configuration of a context (SSL_CONF_cmd(3)).

They come behind every other setting and may change it: `config = MinProtocol:TLSv1` undoes `sslVersionMin`.
What Culvert decides for itself is not theirs: who is verified, whose records the kernel encrypts.
"""

from __future__ import annotations

from culvert.config.tlsnames import KERNEL_TLS_REFUSED
from culvert.errors import TlsError
from culvert.openssl import Context
from culvert.openssl._lib import OPTIONS
from culvert.openssl.commands import Commands
from culvert.tls.faults import Faults

ELSEWHERE = {
    "verifymode": "`verifyChain`, `verifyPeer` and `requireCert` say who is verified",
    "certificate": "`cert` says which certificates are used",
    "privatekey": "`key` says which key is used",
    "serverinfofile": "it belongs to a certificate, and those are named by `cert`",
    "chaincafile": "the chain is found among the certificates of `cert`",
    "chaincapath": "the chain is found among the certificates of `cert`",
    "verifycafile": "`CAfile` says who is trusted",
    "verifycapath": "`CApath` says who is trusted",
    "verifycastore": "`CAstore` says who is trusted",
    "chaincastore": "the chain is found among the certificates of `cert`",
    "clientcafile": "`CAfile` says whose certificates are asked for",
    "clientcapath": "`CApath` says whose certificates are asked for",
    "clientcastore": "`CAstore` says whose certificates are asked for",
    "dhparameters": "DH parameters stand in a file of `cert`",
}
"""Commands that have an option of ours, which checks what it loads; in lower case."""


def give_commands(faults: Faults, context: Context, *, demands_proof: bool) -> None:
    """Carry out every line of `config`; each that OpenSSL refuses is an error at its place.

    demands_proof: so is one that brings a cipher without, with which OpenSSL would ask for no certificate.
    """
    commands = Commands(context)
    for number, line in enumerate(faults.service.config):
        name, colon, parameter = line.partition(":")
        reason = ELSEWHERE.get(name.strip().lower())
        try:
            if reason is None:
                commands.give(name.strip(), parameter if colon else None)
        except TlsError as error:
            reason = _reason(name, error)
        if reason is None and context.options & OPTIONS.get("ENABLE_KTLS", 0):
            reason = f"{line} {KERNEL_TLS_REFUSED}"
            context.set_options(0, OPTIONS["ENABLE_KTLS"])
        if reason is None and demands_proof and context.proves_nothing:
            reason = f"{line} has ciphers without certificates (aNULL), and a certificate or key is demanded"
            demands_proof = False  # is said once
        if reason is not None:
            faults.refuse("config", reason, number=number)
    with faults.about("config", "OpenSSL does not take these commands"):
        commands.finish()


def _reason(name: str, error: TlsError) -> str:
    if error.reason.startswith("OpenSSL config command"):
        return error.reason
    return f'OpenSSL config command "{name}" failed: {error.reason or error.doing}'
