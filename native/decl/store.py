"""<openssl/store.h>, <openssl/pkcs12.h>: certificates and keys by URI, and those of PKCS#12 files."""

from __future__ import annotations

INCLUDES = """
#include <openssl/store.h>
#include <openssl/pkcs12.h>
"""

TYPES = """
typedef ... OSSL_STORE_CTX;
typedef ... OSSL_STORE_INFO;
typedef ... PKCS12;
static const int OSSL_STORE_INFO_NAME;
static const int OSSL_STORE_INFO_PKEY;
static const int OSSL_STORE_INFO_CERT;
"""

FUNCTIONS = """
OSSL_STORE_CTX *culvert_store_open(const char *, UI_METHOD *, void *);
int OSSL_STORE_expect(OSSL_STORE_CTX *, int);
OSSL_STORE_INFO *OSSL_STORE_load(OSSL_STORE_CTX *);
int OSSL_STORE_eof(OSSL_STORE_CTX *);
int OSSL_STORE_close(OSSL_STORE_CTX *);
int OSSL_STORE_INFO_get_type(const OSSL_STORE_INFO *);
const char *OSSL_STORE_INFO_get0_NAME(const OSSL_STORE_INFO *);
EVP_PKEY *OSSL_STORE_INFO_get1_PKEY(const OSSL_STORE_INFO *);
X509 *OSSL_STORE_INFO_get1_CERT(const OSSL_STORE_INFO *);
void OSSL_STORE_INFO_free(OSSL_STORE_INFO *);

PKCS12 *d2i_PKCS12_bio(BIO *, PKCS12 **);
int PKCS12_verify_mac(PKCS12 *, const char *, int);
int PKCS12_mac_present(const PKCS12 *);
int culvert_pkcs12_parse(PKCS12 *, const char *, EVP_PKEY **, X509 **, CULVERT_X509S **);
void PKCS12_free(PKCS12 *);
"""

CUSTOM = """
/* Without a method for pass phrases nobody is asked: what is encrypted with one cannot be read. */
static OSSL_STORE_CTX *culvert_store_open(const char *uri, UI_METHOD *asking, void *data)
{
    return OSSL_STORE_open(uri, asking, data, NULL, NULL);
}

static int culvert_pkcs12_parse(PKCS12 *file, const char *phrase, EVP_PKEY **key, X509 **leaf,
                                CULVERT_X509S **others)
{
    return PKCS12_parse(file, phrase, key, leaf, others);
}
"""
