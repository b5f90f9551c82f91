"""<openssl/ssl.h>, once more: a look at the ClientHello, before anything is answered."""

from __future__ import annotations

INCLUDES = """
#include <openssl/ssl.h>
"""

TYPES = """
static const int SSL_ERROR_WANT_CLIENT_HELLO_CB;
static const int SSL_CLIENT_HELLO_SUCCESS;
static const int SSL_CLIENT_HELLO_RETRY;
static const int TLSEXT_TYPE_session_ticket;
static const int TLSEXT_TYPE_psk;
static const int TLSEXT_TYPE_supported_versions;
"""

FUNCTIONS = """
size_t SSL_client_hello_get0_session_id(SSL *, const unsigned char **);
int SSL_client_hello_get0_ext(SSL *, unsigned int, const unsigned char **, size_t *);
int SSL_get_max_proto_version(SSL *);
void culvert_look_at_hellos(SSL_CTX *);

extern "Python+C" int culvert_on_hello(SSL *, int *, void *);
"""

CUSTOM = """
int culvert_on_hello(SSL *, int *, void *);

/* Ask Python about each ClientHello; it may let the handshake stand still. */
static void culvert_look_at_hellos(SSL_CTX *context)
{
    SSL_CTX_set_client_hello_cb(context, culvert_on_hello, NULL);
}
"""
