"""<openssl/ssl.h>: from one context to another while a ClientHello is being read.

SSL_set_SSL_CTX(3) takes over certificates and what is looked up in the context later; all that SSL_new(3) has
copied into the connection stays as it was.  So it is copied again here.
"""

from __future__ import annotations

INCLUDES = """
#include "home.h"
"""

TYPES = """
static const int SSL_CLIENT_HELLO_ERROR;
static const int TLSEXT_TYPE_server_name;
"""

FUNCTIONS = """
int SSL_use_cert_and_key(SSL *, X509 *, EVP_PKEY *, CULVERT_X509S *, int);
int SSL_set_session_id_context(SSL *, const unsigned char *, unsigned int);
int SSL_set_num_tickets(SSL *, size_t);
SSL_CTX *home_of(SSL *);
int culvert_watch_names(SSL_CTX *);
int culvert_switch(SSL *, SSL_CTX *, const char *);

extern "Python+C" int culvert_on_name(SSL *, int *, void *);
"""

CUSTOM = """
static int culvert_on_name(SSL *, int *, void *);

/* Confirm a name that has chosen a service (RFC 6066, 3). */
static int name_taken(SSL *ssl, int *alert, void *unused)
{
    (void)alert, (void)unused;
    return home_of(ssl) != SSL_get_SSL_CTX(ssl) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* Ask Python at each ClientHello, before OpenSSL decides on a version or looks for a session. */
static int culvert_watch_names(SSL_CTX *context)
{
    SSL_CTX_set_client_hello_cb(context, culvert_on_name, NULL);
    return SSL_CTX_set_tlsext_servername_callback(context, name_taken);
}

static int switch_versions(SSL *ssl, SSL_CTX *to)
{
    return SSL_set_min_proto_version(ssl, (int)SSL_CTX_get_min_proto_version(to)) &&
           SSL_set_max_proto_version(ssl, (int)SSL_CTX_get_max_proto_version(to));
}

/* Go on as if the connection had been made from `to`.  groups: of that context, NULL where they are the same.
 * Ciphers, authorities, trusted certificates, application protocols and staples are looked up in the context.
 * Returns 0 when it failed; the handshake must end then. */
static int culvert_switch(SSL *ssl, SSL_CTX *to, const char *groups)
{
    uint64_t options = SSL_CTX_get_options(to);
    int keyed = keys_slot >= 0 && SSL_CTX_get_ex_data(to, keys_slot);
    if (!home_keep(ssl) || SSL_set_SSL_CTX(ssl, to) != to)
        return 0;
    SSL_clear_options(ssl, ~options);
    SSL_set_options(ssl, options);
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(to), SSL_CTX_get_verify_callback(to));
    SSL_set_psk_server_callback(ssl, keyed ? server_key : NULL);
    if (groups && !SSL_set1_groups_list(ssl, groups))
        return 0;
    return SSL_set1_param(ssl, SSL_CTX_get0_param(to)) && switch_versions(ssl, to) &&
           SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(to));
}
"""
