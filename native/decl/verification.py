"""<openssl/x509_vfy.h>: the judgement of a peer's chain where OpenSSL's own is all that counts."""

from __future__ import annotations

INCLUDES = """
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
"""

TYPES = ""

FUNCTIONS = """
void culvert_verify_by_chain(SSL_CTX *, int, int);

extern "Python+C" void culvert_on_refusal(X509_STORE_CTX *);
"""

CUSTOM = """
static void culvert_on_refusal(X509_STORE_CTX *);

static SSL *ssl_of(const X509_STORE_CTX *verification)
{
    return X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
}

static int session_slot;

/* Nothing that OpenSSL finds is ever passed over here; Python is told of it where it has a log to write. */
static int chain_error(int good, X509_STORE_CTX *verification)
{
    if (!good && SSL_get_ex_data(ssl_of(verification), session_slot))
        culvert_on_refusal(verification);
    return good;
}

/* 1 accepts, and the only way to it is that OpenSSL has verified a chain to its end without an error. */
static int verify_chain(X509_STORE_CTX *verification, void *unused)
{
    (void)unused;
    return X509_verify_cert(verification) > 0 && X509_STORE_CTX_get_error(verification) == X509_V_OK &&
           X509_STORE_CTX_get0_chain(verification) != NULL;
}

/* Demand chains that OpenSSL finds good, without a call of Python.  `slot`: where an SSL has the number of
 * its Session. */
static void culvert_verify_by_chain(SSL_CTX *context, int mode, int slot)
{
    session_slot = slot;
    SSL_CTX_set_verify(context, mode, chain_error);
    SSL_CTX_set_cert_verify_callback(context, verify_chain, NULL);
}
"""
