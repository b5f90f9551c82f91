"""<openssl/x509_vfy.h>: revocation lists (RFC 5280, 5) and the errors that come of them."""

from __future__ import annotations

INCLUDES = """
#include <openssl/x509_vfy.h>
"""

TYPES = """
typedef ... X509_CRL;

static const int X509_V_ERR_CERT_REVOKED;
static const int X509_V_ERR_UNABLE_TO_GET_CRL;
static const int X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER;
static const int X509_V_ERR_CRL_SIGNATURE_FAILURE;
static const int X509_V_ERR_CRL_NOT_YET_VALID;
static const int X509_V_ERR_CRL_HAS_EXPIRED;
static const int X509_V_ERR_KEYUSAGE_NO_CRL_SIGN;
static const int X509_V_ERR_CERT_NOT_YET_VALID;
static const int X509_V_ERR_CERT_SIGNATURE_FAILURE;
static const int X509_V_ERR_INVALID_CA;
static const int X509_V_ERR_INVALID_PURPOSE;
static const int X509_V_ERR_KEYUSAGE_NO_CERTSIGN;
static const int X509_V_ERR_PATH_LENGTH_EXCEEDED;
static const int X509_V_ERR_EE_KEY_TOO_SMALL;
static const int X509_V_ERR_CA_KEY_TOO_SMALL;
static const int X509_V_ERR_CA_MD_TOO_WEAK;
"""

FUNCTIONS = """
X509_CRL *PEM_read_bio_X509_CRL(BIO *, X509_CRL **, CULVERT_PASSWORD, void *);
void X509_CRL_free(X509_CRL *);
int i2d_X509_CRL(X509_CRL *, unsigned char **);
X509_NAME *X509_CRL_get_issuer(const X509_CRL *);
const ASN1_TIME *X509_CRL_get0_lastUpdate(const X509_CRL *);
const ASN1_TIME *X509_CRL_get0_nextUpdate(const X509_CRL *);
X509_STORE *X509_STORE_new(void);
void X509_STORE_free(X509_STORE *);
int X509_STORE_add_crl(X509_STORE *, X509_CRL *);

int culvert_check_revocation(SSL_CTX *, X509_STORE *, int);
"""

CUSTOM = """
/* Revocation lists have a store of their own: a folder of lists must not make anybody trusted whose
 * certificate lies in it, too.  The store of the trusted certificates owns it. */
static int lists_slot = -1;

static void free_lists(void *parent, void *lists, CRYPTO_EX_DATA *data, int slot, long number, void *unused)
{
    (void)parent, (void)data, (void)slot, (void)number, (void)unused;
    X509_STORE_free(lists);
}

static STACK_OF(X509_CRL) *lists_of(const X509_STORE_CTX *verification, const X509_NAME *issuer)
{
    X509_STORE *lists = X509_STORE_get_ex_data(X509_STORE_CTX_get0_store(verification), lists_slot);
    X509_STORE_CTX *look_up = X509_STORE_CTX_new();
    STACK_OF(X509_CRL) *found = NULL;
    if (lists && look_up && X509_STORE_CTX_init(look_up, lists, NULL, NULL))
        found = X509_STORE_CTX_get1_crls(look_up, issuer);
    X509_STORE_CTX_free(look_up);
    return found;
}

/* Look for each certificate, or the leaf only, in the lists; a list that is missing is an error of that
 * certificate.  Takes its own reference to the store of lists. */
static int culvert_check_revocation(SSL_CTX *context, X509_STORE *lists, int whole_chain)
{
    X509_STORE *trusted = SSL_CTX_get_cert_store(context);
    unsigned long flags = X509_V_FLAG_CRL_CHECK | (whole_chain ? X509_V_FLAG_CRL_CHECK_ALL : 0);
    if (lists_slot < 0)
        lists_slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_X509_STORE, 0, NULL, NULL, NULL, free_lists);
    if (lists_slot < 0 || !X509_STORE_up_ref(lists))
        return 0;
    if (!X509_STORE_set_ex_data(trusted, lists_slot, lists)) {
        X509_STORE_free(lists);
        return 0;
    }
    X509_STORE_set_lookup_crls(trusted, lists_of);
    return X509_STORE_set_flags(trusted, flags);
}
"""
