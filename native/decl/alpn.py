"""<openssl/ssl.h>, application protocols (RFC 7301): a list for each context, chosen from without Python.

The list belongs to the context.  Python is called only when nothing fits, and only for a session that wants
lines for its log.
"""

from __future__ import annotations

INCLUDES = ""

TYPES = ""

FUNCTIONS = """
int SSL_CTX_set_alpn_protos(SSL_CTX *, const unsigned char *, unsigned int);
void SSL_get0_alpn_selected(const SSL *, const unsigned char **, unsigned int *);
int culvert_protocols_use(SSL_CTX *, const unsigned char *, unsigned int);
int culvert_tell_protocols(SSL *);

extern "Python+C" void culvert_on_no_protocol(SSL *, const unsigned char *, unsigned int);
"""

CUSTOM = """
struct protocols { unsigned int size; unsigned char list[]; };

static int protocols_slot = -1, protocols_told_slot = -1;

static void culvert_on_no_protocol(SSL *, const unsigned char *, unsigned int);

static void protocols_freed(void *context, void *list, CRYPTO_EX_DATA *data, int slot, long number,
                            void *pointer)
{
    (void)context, (void)data, (void)slot, (void)number, (void)pointer;
    OPENSSL_free(list);
}

/* Our order of preference decides; without a common protocol the handshake ends (RFC 7301, 3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **chosen, unsigned char *size,
                           const unsigned char *offered, unsigned int offered_size, void *list)
{
    const struct protocols *ours = list;
    unsigned char *found;
    int result = SSL_select_next_proto(&found, size, ours->list, ours->size, offered, offered_size);
    if (result == OPENSSL_NPN_NEGOTIATED) {
        *chosen = found;
        return SSL_TLSEXT_ERR_OK;
    }
    if (SSL_get_ex_data(ssl, protocols_told_slot))
        culvert_on_no_protocol(ssl, offered, offered_size);
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int protocols_prepared(void)
{
    if (protocols_slot < 0)
        protocols_slot =
            CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, protocols_freed);
    if (protocols_told_slot < 0)
        protocols_told_slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, NULL);
    return protocols_slot >= 0 && protocols_told_slot >= 0;
}

/* A server's protocols, the preferred first, each behind an octet with its length; once for a context.
 * Returns 0 when memory is out. */
static int culvert_protocols_use(SSL_CTX *context, const unsigned char *list, unsigned int size)
{
    struct protocols *ours = protocols_prepared() ? OPENSSL_malloc(sizeof *ours + size) : NULL;
    if (!ours)
        return 0;
    ours->size = size;
    memcpy(ours->list, list, size);
    if (!SSL_CTX_set_ex_data(context, protocols_slot, ours)) {
        OPENSSL_free(ours);
        return 0;
    }
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, ours);
    return 1;
}

/* Tell Python when nothing fits. */
static int culvert_tell_protocols(SSL *ssl) { return SSL_set_ex_data(ssl, protocols_told_slot, ssl); }
"""
