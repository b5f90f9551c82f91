"""<openssl/ssl.h>, the part of SSL_CONF_cmd(3): commands in words for a context."""

from __future__ import annotations

INCLUDES = ""

TYPES = """
typedef ... SSL_CONF_CTX;
static const int SSL_CONF_FLAG_FILE;
static const int SSL_CONF_FLAG_CLIENT;
static const int SSL_CONF_FLAG_SERVER;
static const int SSL_CONF_FLAG_CERTIFICATE;
static const int SSL_CONF_FLAG_SHOW_ERRORS;
"""

FUNCTIONS = """
SSL_CONF_CTX *SSL_CONF_CTX_new(void);
void SSL_CONF_CTX_free(SSL_CONF_CTX *);
unsigned int SSL_CONF_CTX_set_flags(SSL_CONF_CTX *, unsigned int);
void SSL_CONF_CTX_set_ssl_ctx(SSL_CONF_CTX *, SSL_CTX *);
int SSL_CONF_cmd(SSL_CONF_CTX *, const char *, const char *);
int SSL_CONF_CTX_finish(SSL_CONF_CTX *);
void culvert_never_ask(SSL_CTX *);
"""

CUSTOM = """
/* A command may load an encrypted key: without this OpenSSL would ask the terminal by itself. */
static void culvert_never_ask(SSL_CTX *context) { SSL_CTX_set_default_passwd_cb(context, culvert_password); }
"""
