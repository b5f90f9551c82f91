"""<openssl/crypto.h>: version, memory, and the slots in which an object keeps what is ours."""

from __future__ import annotations

INCLUDES = """
#include <openssl/crypto.h>
"""

TYPES = """
#define OPENSSL_VERSION_NUMBER ...
static const int OPENSSL_VERSION;
static const int CRYPTO_EX_INDEX_SSL;
static const int CRYPTO_EX_INDEX_SSL_CTX;
static const int CRYPTO_EX_INDEX_SSL_SESSION;
"""

FUNCTIONS = """
unsigned long OpenSSL_version_num(void);
const char *OpenSSL_version(int);
void culvert_free(void *);
int culvert_slot(int);
"""

CUSTOM = """
static void culvert_free(void *memory) { OPENSSL_free(memory); }

/* A slot of our own in every object of this class (CRYPTO_EX_INDEX_...); nothing is freed with the object. */
static int culvert_slot(int class_index)
{
    return CRYPTO_get_ex_new_index(class_index, 0, NULL, NULL, NULL, NULL);
}
"""
