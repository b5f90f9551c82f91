"""<openssl/pem.h>: armoured certificates, keys and parameters."""

from __future__ import annotations

INCLUDES = """
#include <openssl/decoder.h>
#include <openssl/pem.h>
"""

TYPES = """
typedef int (*CULVERT_PASSWORD)(char *, int, int, void *);
"""

FUNCTIONS = """
X509 *PEM_read_bio_X509_AUX(BIO *, X509 **, CULVERT_PASSWORD, void *);
EVP_PKEY *PEM_read_bio_PrivateKey(BIO *, EVP_PKEY **, CULVERT_PASSWORD, void *);
EVP_PKEY *PEM_read_bio_Parameters(BIO *, EVP_PKEY **);
int culvert_password(char *, int, int, void *);
EVP_PKEY *culvert_open_key(BIO *);
"""

CUSTOM = """
/* The pass phrase is in ``given`` (NUL at its end), or NULL.  Without this OpenSSL would ask the terminal. */
static int culvert_password(char *buffer, int size, int writing, void *given)
{
    size_t length = given ? strlen(given) : 0;
    (void)writing;
    if (length == 0 || length > (size_t)size)
        return -1;
    memcpy(buffer, given, length);
    return (int)length;
}

/* The first private key, which is not encrypted; NULL when it cannot be read this way.  One thread at a time.
 * PEM_read_bio_PrivateKey(3) collects all decoders that there are for each key anew, which takes ten times as
 * long as the decoding. */
static EVP_PKEY *culvert_open_key(BIO *pem)
{
    static OSSL_DECODER_CTX *decoder;
    static EVP_PKEY *key;
    if (!decoder)
        decoder = OSSL_DECODER_CTX_new_for_pkey(&key, NULL, NULL, NULL, EVP_PKEY_KEYPAIR, NULL, NULL);
    key = NULL;
    if (!decoder || !OSSL_DECODER_from_bio(decoder, pem)) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}
"""
