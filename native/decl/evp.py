"""<openssl/evp.h> and <openssl/dh.h>: private and public keys."""

from __future__ import annotations

INCLUDES = """
#include <openssl/evp.h>
#include <openssl/objects.h>
"""

TYPES = """
typedef ... EVP_PKEY;
"""

FUNCTIONS = """
void EVP_PKEY_free(EVP_PKEY *);
int EVP_PKEY_up_ref(EVP_PKEY *);
int EVP_PKEY_eq(const EVP_PKEY *, const EVP_PKEY *);
int EVP_PKEY_get_bits(const EVP_PKEY *);
int EVP_PKEY_get_security_bits(const EVP_PKEY *);
int EVP_PKEY_get_group_name(const EVP_PKEY *, char *, size_t, size_t *);
const char *EVP_PKEY_get0_type_name(const EVP_PKEY *);
const char *OBJ_nid2sn(int);
"""

CUSTOM = ""
