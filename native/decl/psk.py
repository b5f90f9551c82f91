"""<openssl/ssl.h>, keys that both sides know beforehand: a table for each context, looked up without Python.

The table belongs to the context and is wiped with it.  Python is called only for a session that wants lines
for its log.
"""

from __future__ import annotations

INCLUDES = """
#include <stdlib.h>
"""

TYPES = """
struct culvert_keys;
static const int PSK_MAX_IDENTITY_LEN;
static const int PSK_MAX_PSK_LEN;
"""

FUNCTIONS = """
struct culvert_keys *culvert_keys_new(size_t);
void culvert_keys_free(struct culvert_keys *);
int culvert_keys_add(struct culvert_keys *, const char *, const unsigned char *, size_t);
int culvert_keys_use(SSL_CTX *, struct culvert_keys *, int);
int culvert_tell_keys(SSL *);

extern "Python+C" void culvert_on_key(SSL *, const char *, int);
"""

CUSTOM = """
struct culvert_key { char *identity; unsigned char *secret; size_t size; };
struct culvert_keys { size_t count, room; struct culvert_key key[]; };

static int keys_slot = -1, keys_told_slot = -1;

static void culvert_on_key(SSL *, const char *, int);

static struct culvert_keys *culvert_keys_new(size_t room)
{
    struct culvert_keys *keys = OPENSSL_zalloc(sizeof *keys + room * sizeof keys->key[0]);
    if (keys)
        keys->room = room;
    return keys;
}

static void culvert_keys_free(struct culvert_keys *keys)
{
    if (!keys)
        return;
    for (size_t each = 0; each < keys->count; each++) {
        OPENSSL_free(keys->key[each].identity);
        OPENSSL_clear_free(keys->key[each].secret, keys->key[each].size);
    }
    OPENSSL_free(keys);
}

/* Copies both.  Returns 0 when memory is out or the table is full. */
static int culvert_keys_add(struct culvert_keys *keys, const char *identity, const unsigned char *secret,
                            size_t size)
{
    struct culvert_key *key = &keys->key[keys->count];
    if (keys->count >= keys->room)
        return 0;
    key->identity = OPENSSL_strdup(identity);
    key->secret = OPENSSL_memdup(secret, size);
    key->size = size;
    keys->count++;
    return key->identity && key->secret;
}

static int keys_order(const void *one, const void *other)
{
    return strcmp(((const struct culvert_key *)one)->identity, ((const struct culvert_key *)other)->identity);
}

static void keys_freed(void *context, void *keys, CRYPTO_EX_DATA *data, int slot, long number, void *pointer)
{
    (void)context, (void)data, (void)slot, (void)number, (void)pointer;
    culvert_keys_free(keys);
}

/* Identities are no secrets (they go over the wire in clear), so the search may take as long as it takes;
 * keys are compared by OpenSSL only, in constant time, as binders and MACs. */
static unsigned int server_key(SSL *ssl, const char *identity, unsigned char *secret, unsigned int room)
{
    const struct culvert_keys *keys = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_slot);
    const struct culvert_key wanted = {(char *)identity, NULL, 0}, *found = NULL;
    if (keys && identity)
        found = bsearch(&wanted, keys->key, keys->count, sizeof wanted, keys_order);
    if (found && found->size > room)
        found = NULL;
    if (SSL_get_ex_data(ssl, keys_told_slot))
        culvert_on_key(ssl, identity ? identity : "", found != NULL);
    if (!found)
        return 0;
    memcpy(secret, found->secret, found->size);
    return (unsigned int)found->size;
}

static unsigned int client_key(SSL *ssl, const char *hint, char *identity, unsigned int identity_room,
                               unsigned char *secret, unsigned int room)
{
    const struct culvert_keys *keys = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_slot);
    const struct culvert_key *key = keys && keys->count ? &keys->key[0] : NULL;
    (void)hint;
    if (!key || key->size > room || strlen(key->identity) >= identity_room)
        return 0;
    if (SSL_get_ex_data(ssl, keys_told_slot))
        culvert_on_key(ssl, key->identity, 1);
    strcpy(identity, key->identity);
    memcpy(secret, key->secret, key->size);
    return (unsigned int)key->size;
}

static int keys_prepared(void)
{
    if (keys_slot < 0)
        keys_slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, keys_freed);
    if (keys_told_slot < 0)
        keys_told_slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, NULL);
    return keys_slot >= 0 && keys_told_slot >= 0;
}

/* The context owns the table from now on, if this returns 1.  A client uses its first key. */
static int culvert_keys_use(SSL_CTX *context, struct culvert_keys *keys, int server)
{
    if (!keys_prepared() || !SSL_CTX_set_ex_data(context, keys_slot, keys))
        return 0;
    qsort(keys->key, keys->count, sizeof keys->key[0], keys_order);
    if (server)
        SSL_CTX_set_psk_server_callback(context, server_key);
    else
        SSL_CTX_set_psk_client_callback(context, client_key);
    return 1;
}

/* Tell Python of every key that this session is asked for. */
static int culvert_tell_keys(SSL *ssl) { return SSL_set_ex_data(ssl, keys_told_slot, ssl); }
"""
