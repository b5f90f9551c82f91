"""<openssl/provider.h>, <openssl/rand.h>, <openssl/comp.h>: the library as a whole."""

from __future__ import annotations

INCLUDES = """
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/comp.h>
"""

TYPES = """
typedef ... OSSL_LIB_CTX;
typedef ... OSSL_PROVIDER;
static const int OPENSSL_INFO_MODULES_DIR;
static const int OPENSSL_INFO_ENGINES_DIR;
static const int culvert_has_provider_parameters;
"""

FUNCTIONS = """
const char *OPENSSL_info(int);
OSSL_PROVIDER *OSSL_PROVIDER_try_load(OSSL_LIB_CTX *, const char *, int);
int EVP_default_properties_is_fips_enabled(OSSL_LIB_CTX *);
int EVP_default_properties_enable_fips(OSSL_LIB_CTX *, int);
int culvert_provider_parameter(OSSL_PROVIDER *, const char *, const char *);

void RAND_add(const void *, int, double);
int RAND_bytes(unsigned char *, int);
int RAND_status(void);

int culvert_compressions(void);
const char *culvert_compression_name(int);
int culvert_compression_id(int);
const char *culvert_compression_of(SSL *, int);
"""

CUSTOM = """
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
static const int culvert_has_provider_parameters = 1;
static int culvert_provider_parameter(OSSL_PROVIDER *provider, const char *name, const char *value)
{
    return OSSL_PROVIDER_add_conf_parameter(provider, name, value);
}
#else
static const int culvert_has_provider_parameters = 0;
static int culvert_provider_parameter(OSSL_PROVIDER *provider, const char *name, const char *value)
{
    (void)provider, (void)name, (void)value;
    return 0;
}
#endif

/* The methods of compression that OpenSSL was built with; SSL_COMP_add_compression_method(3). */
static SSL_COMP *compression(int position)
{
    STACK_OF(SSL_COMP) *methods = SSL_COMP_get_compression_methods();
    return methods && position < sk_SSL_COMP_num(methods) ? sk_SSL_COMP_value(methods, position) : NULL;
}

static int culvert_compressions(void)
{
    STACK_OF(SSL_COMP) *methods = SSL_COMP_get_compression_methods();
    return methods ? sk_SSL_COMP_num(methods) : 0;
}

static const char *culvert_compression_name(int position)
{
    SSL_COMP *found = compression(position);
    return found ? SSL_COMP_get0_name(found) : NULL;
}

static int culvert_compression_id(int position)
{
    SSL_COMP *found = compression(position);
    return found ? SSL_COMP_get_id(found) : -1;
}

/* How this connection compresses, or expands, its records; NULL when it does not. */
static const char *culvert_compression_of(SSL *ssl, int expansion)
{
    const COMP_METHOD *method = expansion ? SSL_get_current_expansion(ssl) : SSL_get_current_compression(ssl);
    return method ? SSL_COMP_get_name(method) : NULL;
}
"""
