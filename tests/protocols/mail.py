"""Dovecot and Postfix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.pki import Identity
from tests.protocols.instances import PASSWORD, owned, ports, root_only, serving
from tests.proxies import need_program

# IMAP, POP3, LMTP, ManageSieve, and who may log in at the mail server

_DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
instance_name = {name}
listen = 127.0.0.1
protocols = imap pop3 lmtp sieve
default_login_user = dovenull
default_internal_user = dovecot
mail_location = maildir:{folder}/mail/%u
mail_uid = dovecot
mail_gid = dovecot
first_valid_uid = 1
ssl = yes
ssl_cert = <{chain}
ssl_key = <{key}
disable_plaintext_auth = no
auth_mechanisms = plain login
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={folder}/mail/%u
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
  process_min_avail = 0
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service managesieve-login {{
  inet_listener sieve {{
    port = {sieve}
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {auth}
  }}
}}
service stats {{
  client_limit = 100
}}
"""


@contextmanager
def dovecot(folder: Path, identity: Identity) -> Iterator[dict[str, int]]:
    """imap, pop3, lmtp, sieve, and auth: where Postfix asks for users."""
    root_only()
    program = need_program("dovecot")
    owned(folder / "mail", "dovecot")
    with ports("imap", "pop3", "lmtp", "sieve", "auth") as wanted:
        facts = {"folder": folder, "name": folder.name, "chain": identity.chain, "key": identity.key}
        file = folder / "dovecot.conf"
        file.write_text(_DOVECOT.format(**facts, **wanted, password=PASSWORD))
        with serving([program, "-F", "-c", file], folder, wanted) as found:
            yield found


# SMTP

_MAIN_CF = """
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.example.org
mydestination = example.org
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
local_transport = discard:
default_transport = discard:
relay_transport = discard:
smtpd_tls_security_level = may
smtpd_tls_chain_files = {key}, {chain}
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth}
smtpd_sasl_security_options =
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions =
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
"""
_MASTER_CF = """
127.0.0.1:{smtp} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def postfix(folder: Path, identity: Identity, auth: int) -> Iterator[dict[str, int]]:
    """smtp, which takes mail from users of the Dovecot at the port ``auth``, and throws it away."""
    root_only()
    program = need_program("postfix")
    (folder / "etc").mkdir()
    (folder / "spool").mkdir()
    owned(folder / "data", "postfix")
    with ports("smtp") as wanted:
        main = _MAIN_CF.format(folder=folder, key=identity.key, chain=identity.chain, auth=auth)
        (folder / "etc" / "main.cf").write_text(main)
        (folder / "etc" / "master.cf").write_text(_MASTER_CF.format(**wanted))
        with serving([program, "-c", folder / "etc", "start-fg"], folder, wanted) as found:
            yield found
