"""<openssl/pem.h>: armoured certificates, keys and parameters."""

from __future__ import annotations

INCLUDES = """
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
"""
