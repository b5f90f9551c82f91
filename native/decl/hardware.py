"""<openssl/engine.h>: engines, which hold keys outside of our memory.  OpenSSL 3 deprecates, 4 lacks them."""

from __future__ import annotations

INCLUDES = """
#include <openssl/rsa.h>
#ifndef OPENSSL_NO_ENGINE
#include <openssl/engine.h>
#endif
"""

TYPES = """
typedef ... CULVERT_ENGINE;
static const int culvert_has_engines;
"""

FUNCTIONS = """
void culvert_engines_load(void);
CULVERT_ENGINE *culvert_engine_next(CULVERT_ENGINE *);
CULVERT_ENGINE *culvert_engine_by_id(const char *);
const char *culvert_engine_id(CULVERT_ENGINE *);
int culvert_engine_init(CULVERT_ENGINE *);
int culvert_engine_control(CULVERT_ENGINE *, const char *, const char *);
int culvert_engine_default(CULVERT_ENGINE *, const char *);
EVP_PKEY *culvert_engine_key(CULVERT_ENGINE *, const char *, UI_METHOD *, void *);
X509 *culvert_engine_certificate(CULVERT_ENGINE *, const char *);
int culvert_key_signs(EVP_PKEY *);
int culvert_engine_asks(CULVERT_ENGINE *, UI_METHOD *, void *);
"""

CUSTOM = """
static int signs(EVP_MD_CTX *context, EVP_PKEY *key, int pss, unsigned char *signature, size_t size)
{
    static const unsigned char text[] = "culvert";
    int plain = EVP_PKEY_is_a(key, "ED25519") || EVP_PKEY_is_a(key, "ED448");
    EVP_PKEY_CTX *details = NULL;
    EVP_MD_CTX_reset(context);
    if (EVP_DigestSignInit(context, &details, plain ? NULL : EVP_sha256(), NULL, key) <= 0)
        return 0;
    if (pss && EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING) <= 0)
        return 0;
    return EVP_DigestSign(context, signature, &size, text, sizeof text) > 0;
}

/* Sign something, to see whether the key answers in this process.  A token may permit RSA keys PSS alone. */
static int culvert_key_signs(EVP_PKEY *key)
{
    size_t size = (size_t)EVP_PKEY_get_size(key);
    unsigned char *signature = OPENSSL_malloc(size);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int done = signature && context &&
               (signs(context, key, 0, signature, size) ||
                (EVP_PKEY_is_a(key, "RSA") && signs(context, key, 1, signature, size)));
    EVP_MD_CTX_free(context);
    OPENSSL_free(signature);
    return done;
}

#ifndef OPENSSL_NO_ENGINE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

typedef ENGINE CULVERT_ENGINE;
static const int culvert_has_engines = 1;

static void culvert_engines_load(void) { ENGINE_load_builtin_engines(); }

/* The first one for NULL; takes over the reference that it is given, as ENGINE_get_next() does. */
static CULVERT_ENGINE *culvert_engine_next(CULVERT_ENGINE *engine)
{
    return engine ? ENGINE_get_next(engine) : ENGINE_get_first();
}

static CULVERT_ENGINE *culvert_engine_by_id(const char *id) { return ENGINE_by_id(id); }

static const char *culvert_engine_id(CULVERT_ENGINE *engine) { return ENGINE_get_id(engine); }

static int culvert_engine_init(CULVERT_ENGINE *engine) { return ENGINE_init(engine); }

static int culvert_engine_control(CULVERT_ENGINE *engine, const char *command, const char *argument)
{
    return ENGINE_ctrl_cmd_string(engine, command, argument, 0);
}

static int culvert_engine_default(CULVERT_ENGINE *engine, const char *parts)
{
    return ENGINE_set_default_string(engine, parts);
}

static EVP_PKEY *culvert_engine_key(CULVERT_ENGINE *engine, const char *id, UI_METHOD *asking, void *data)
{
    return ENGINE_load_private_key(engine, id, asking, data);
}

/* The command that engine_pkcs11 and its kin have for it; not in any header. */
static X509 *culvert_engine_certificate(CULVERT_ENGINE *engine, const char *id)
{
    struct { const char *id; X509 *certificate; } wanted = {id, NULL};
    if (!ENGINE_ctrl_cmd(engine, "LOAD_CERT_CTRL", 0, &wanted, NULL, 0))
        return NULL;
    return wanted.certificate;
}

/* Whom an engine asks that has to ask on its own account; engines without such commands never do. */
static int culvert_engine_asks(CULVERT_ENGINE *engine, UI_METHOD *asking, void *data)
{
    return ENGINE_ctrl_cmd(engine, "SET_USER_INTERFACE", 0, asking, NULL, 1) &&
           ENGINE_ctrl_cmd(engine, "SET_CALLBACK_DATA", 0, data, NULL, 1);
}

#pragma GCC diagnostic pop
#else
typedef struct culvert_engine CULVERT_ENGINE;
static const int culvert_has_engines = 0;
static void culvert_engines_load(void) {}
static CULVERT_ENGINE *culvert_engine_next(CULVERT_ENGINE *engine) { return NULL; }
static CULVERT_ENGINE *culvert_engine_by_id(const char *id) { return NULL; }
static const char *culvert_engine_id(CULVERT_ENGINE *engine) { return NULL; }
static int culvert_engine_init(CULVERT_ENGINE *engine) { return 0; }
static int culvert_engine_control(CULVERT_ENGINE *engine, const char *command, const char *argument)
{
    return 0;
}
static int culvert_engine_default(CULVERT_ENGINE *engine, const char *parts) { return 0; }
static EVP_PKEY *culvert_engine_key(CULVERT_ENGINE *engine, const char *id, UI_METHOD *asking, void *data)
{
    return NULL;
}
static X509 *culvert_engine_certificate(CULVERT_ENGINE *engine, const char *id) { return NULL; }
static int culvert_engine_asks(CULVERT_ENGINE *engine, UI_METHOD *asking, void *data) { return 0; }
#endif
"""
