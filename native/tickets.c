/* The keys of session tickets: OpenSSL asks for one here, so that no handshake runs Python for it.
 *
 * A context has a ring of keys.  The first one seals; a ticket under any of them is opened, and one under a key that is
 * marked so is replaced by a fresh one.  Python says which keys these are, and says so again when time has passed
 * (culvert.tls.tickets); to be done by the thread that shakes hands with the context, between two turns.
 *
 * The format is RFC 5077's recommendation (section 4): AES-CBC, then HMAC-SHA256 over name, vector and ciphertext, which
 * OpenSSL checks before anything is deciphered.
 */
#include "tickets.h"
#include "home.h"

#include <string.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

struct ring {
    uint32_t count;
    int nameless;            /* the first key opens whatever a ticket calls its key */
    struct ticket_key keys[];
};

static void ring_free(void *context, void *ring, CRYPTO_EX_DATA *data, int slot, long number, void *pointer) {
    struct ring *old = ring;
    (void)context, (void)data, (void)slot, (void)number, (void)pointer;
    if (old)
        OPENSSL_clear_free(old, sizeof *old + old->count * sizeof old->keys[0]);
}

static int ring_slot(void) {
    static int slot = -1;
    if (slot < 0)
        slot = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, ring_free);
    return slot;
}

static const struct ticket_key *find(const struct ring *ring, const unsigned char *name) {
    if (ring->nameless)
        return ring->keys;
    for (uint32_t each = 0; each < ring->count; each++)
        if (!memcmp(ring->keys[each].name, name, TICKET_NAME_SIZE))
            return &ring->keys[each];
    return NULL;
}

static int authenticate(EVP_MAC_CTX *mac, const struct ticket_key *key) {
    char digest[] = "SHA256";
    OSSL_PARAM parameters[3];
    parameters[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, key->mac_size);
    parameters[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
    parameters[2] = OSSL_PARAM_construct_end();
    return EVP_MAC_CTX_set_params(mac, parameters);
}

static const EVP_CIPHER *cipher_of(const struct ticket_key *key) {
    return key->cipher_size == 16 ? EVP_aes_128_cbc() : EVP_aes_256_cbc();
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 go on, 2 go on and renew, 0 no key, -1 failed.  The keys are those of the
 * context that the connection began with, whatever service its server name has chosen: who may resume where is decided by
 * the session context. */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *vector, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                      int sealing) {
    const struct ring *ring = SSL_CTX_get_ex_data(home_of(ssl), ring_slot());
    const struct ticket_key *key;
    if (!ring)
        return sealing ? -1 : 0;
    key = sealing ? ring->keys : find(ring, name);
    if (!key)
        return 0;
    if (sealing) {
        memcpy(name, key->name, TICKET_NAME_SIZE);
        if (RAND_bytes(vector, EVP_CIPHER_get_iv_length(cipher_of(key))) <= 0)
            return -1;
    }
    if (!authenticate(mac, key) || !EVP_CipherInit_ex(cipher, cipher_of(key), NULL, key->cipher, vector, sealing))
        return -1;
    return !sealing && (key->renew || SSL_version(ssl) >= TLS1_3_VERSION) ? 2 : 1; /* shown once, so a fresh one */
}

/* From now on these `count` keys, at least one; they are copied.  Returns 0 when memory is out. */
int tickets_use(SSL_CTX *context, const struct ticket_key *keys, uint32_t count, int nameless) {
    size_t size = sizeof(struct ring) + count * sizeof *keys;
    struct ring *ring = OPENSSL_malloc(size), *old = SSL_CTX_get_ex_data(context, ring_slot());
    if (!ring)
        return 0;
    ring->count = count;
    ring->nameless = nameless;
    memcpy(ring->keys, keys, count * sizeof *keys);
    if (!SSL_CTX_set_ex_data(context, ring_slot(), ring)) {
        OPENSSL_clear_free(ring, size);
        return 0;
    }
    ring_free(NULL, old, NULL, 0, 0, NULL);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(context, ticket_key) != 0;
}
