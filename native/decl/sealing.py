"""<openssl/evp.h>, once more: AES-256-GCM for what lies in somebody else's memory."""

from __future__ import annotations

INCLUDES = """
#include <openssl/evp.h>
"""

TYPES = ""

FUNCTIONS = """
int culvert_gcm(int, const unsigned char *, const unsigned char *, const unsigned char *, int,
                const unsigned char *, int, unsigned char *, unsigned char *);
"""

CUSTOM = """
static int gcm_run(EVP_CIPHER_CTX *cipher, int closing, const unsigned char *key, const unsigned char *nonce,
                   const unsigned char *name, int name_size, const unsigned char *from, int size,
                   unsigned char *to, unsigned char *tag)
{
    int done = 0, last = 0;
    if (!EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce, closing))
        return 0;
    if (!closing && !EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, 16, tag))
        return 0;
    if (!EVP_CipherUpdate(cipher, NULL, &done, name, name_size) ||
        !EVP_CipherUpdate(cipher, to, &done, from, size) || EVP_CipherFinal_ex(cipher, to + done, &last) <= 0)
        return 0;
    return !closing || EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, tag) > 0;
}

/* Encrypt or decrypt `size` octets with a key of 32 and a nonce of 12; `tag`, of 16, is written or compared.
 * Returns whether all is well; `to` is worth nothing otherwise. */
static int culvert_gcm(int closing, const unsigned char *key, const unsigned char *nonce,
                       const unsigned char *name, int name_size, const unsigned char *from, int size,
                       unsigned char *to, unsigned char *tag)
{
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int well = cipher && gcm_run(cipher, closing, key, nonce, name, name_size, from, size, to, tag);
    EVP_CIPHER_CTX_free(cipher);
    return well;
}
"""
