"""<openssl/store.h>: certificates behind a URI."""

from __future__ import annotations

INCLUDES = """
#include <openssl/store.h>
"""

TYPES = """
typedef ... OSSL_STORE_CTX;
typedef ... OSSL_STORE_INFO;

static const int OSSL_STORE_INFO_NAME;
static const int OSSL_STORE_INFO_CERT;
"""

FUNCTIONS = """
OSSL_STORE_CTX *culvert_store_open(const char *);
int OSSL_STORE_expect(OSSL_STORE_CTX *, int);
OSSL_STORE_INFO *OSSL_STORE_load(OSSL_STORE_CTX *);
int OSSL_STORE_eof(OSSL_STORE_CTX *);
int OSSL_STORE_close(OSSL_STORE_CTX *);
int OSSL_STORE_INFO_get_type(const OSSL_STORE_INFO *);
const char *OSSL_STORE_INFO_get0_NAME(const OSSL_STORE_INFO *);
X509 *OSSL_STORE_INFO_get1_CERT(const OSSL_STORE_INFO *);
void OSSL_STORE_INFO_free(OSSL_STORE_INFO *);
"""

CUSTOM = """
/* Without a method for pass phrases nobody is asked: what is encrypted with one cannot be read. */
static OSSL_STORE_CTX *culvert_store_open(const char *uri)
{
    return OSSL_STORE_open(uri, NULL, NULL, NULL, NULL);
}
"""
