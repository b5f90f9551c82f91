"""<openssl/x509.h>, <openssl/x509_vfy.h>, <openssl/x509v3.h>: certificates and their verification."""

from __future__ import annotations

INCLUDES = """
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
"""

TYPES = """
typedef ... X509;
typedef ... X509_NAME;
typedef ... X509_STORE;
typedef ... X509_STORE_CTX;
typedef ... X509_OBJECT;
typedef ... X509_LOOKUP;
typedef ... ASN1_TIME;
typedef ... ASN1_INTEGER;
typedef ... X509_PUBKEY;
typedef ... CULVERT_X509S;

static const int X509_V_OK;
static const int X509_V_ERR_APPLICATION_VERIFICATION;
static const int X509_V_ERR_CERT_UNTRUSTED;
static const int X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT;
static const int X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
static const int X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT;
static const int X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY;
static const int X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE;
static const int X509_V_ERR_CERT_HAS_EXPIRED;
static const int XN_FLAG_ONELINE;
static const int XN_FLAG_SPC_EQ;
static const int ASN1_STRFLGS_ESC_MSB;
"""

FUNCTIONS = """
int i2d_X509(const X509 *, unsigned char **);
int i2d_X509_NAME(const X509_NAME *, unsigned char **);
void X509_free(X509 *);
int X509_up_ref(X509 *);
int X509_check_private_key(const X509 *, const EVP_PKEY *);
int X509_check_issued(X509 *, X509 *);
int X509_check_host(X509 *, const char *, size_t, unsigned int, char **);
int X509_check_email(X509 *, const char *, size_t, unsigned int);
int X509_check_ip_asc(X509 *, const char *, unsigned int);
X509_NAME *X509_get_subject_name(const X509 *);
X509_NAME *X509_get_issuer_name(const X509 *);
int X509_NAME_cmp(const X509_NAME *, const X509_NAME *);
int X509_NAME_print_ex(BIO *, const X509_NAME *, int, unsigned long);
EVP_PKEY *X509_get0_pubkey(const X509 *);
X509_PUBKEY *X509_get_X509_PUBKEY(const X509 *);
int i2d_X509_PUBKEY(const X509_PUBKEY *, unsigned char **);
const ASN1_TIME *X509_get0_notBefore(const X509 *);
const ASN1_TIME *X509_get0_notAfter(const X509 *);
int X509_cmp_current_time(const ASN1_TIME *);
int ASN1_TIME_print(BIO *, const ASN1_TIME *);
int ASN1_TIME_diff(int *, int *, const ASN1_TIME *, const ASN1_TIME *);

int X509_STORE_add_cert(X509_STORE *, X509 *);
int X509_STORE_load_path(X509_STORE *, const char *);
int X509_STORE_set_flags(X509_STORE *, unsigned long);
int X509_verify_cert(X509_STORE_CTX *);
X509 *X509_STORE_CTX_get_current_cert(const X509_STORE_CTX *);
X509 *X509_STORE_CTX_get0_cert(const X509_STORE_CTX *);
int X509_STORE_CTX_get_error(const X509_STORE_CTX *);
int X509_STORE_CTX_get_error_depth(const X509_STORE_CTX *);
void X509_STORE_CTX_set_error(X509_STORE_CTX *, int);
void *X509_STORE_CTX_get_ex_data(const X509_STORE_CTX *, int);
const char *X509_verify_cert_error_string(long);

CULVERT_X509S *culvert_certificates_new(void);
int culvert_certificates_add(CULVERT_X509S *, X509 *);
void culvert_certificates_free(CULVERT_X509S *);
CULVERT_X509S *culvert_certificates_named(X509_STORE_CTX *, const X509_NAME *);
int culvert_certificates_count(const CULVERT_X509S *);
X509 *culvert_certificates_at(const CULVERT_X509S *, int);
"""

CUSTOM = """
/* STACK_OF(X509) is made of macros: these give it the names and the ownership that Python sees.
 * A stack owns one reference to each of its certificates. */
typedef STACK_OF(X509) CULVERT_X509S;

static CULVERT_X509S *culvert_certificates_new(void) { return sk_X509_new_null(); }

static int culvert_certificates_add(CULVERT_X509S *stack, X509 *certificate)
{
    if (!X509_up_ref(certificate))
        return 0;
    if (sk_X509_push(stack, certificate) > 0)
        return 1;
    X509_free(certificate);
    return 0;
}

static void culvert_certificates_free(CULVERT_X509S *stack) { sk_X509_pop_free(stack, X509_free); }

/* Every trusted certificate of that subject, folders included; NULL when memory or a look-up fails. */
static CULVERT_X509S *culvert_certificates_named(X509_STORE_CTX *verification, const X509_NAME *subject)
{
    return X509_STORE_CTX_get1_certs(verification, subject);
}

static int culvert_certificates_count(const CULVERT_X509S *stack) { return sk_X509_num(stack); }

static X509 *culvert_certificates_at(const CULVERT_X509S *stack, int position)
{
    return sk_X509_value(stack, position);
}
"""
