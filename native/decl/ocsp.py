"""<openssl/ocsp.h>: questions to the issuers of certificates, and their answers."""

from __future__ import annotations

INCLUDES = """
#include <string.h>
#include <time.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
"""

TYPES = """
typedef ... OCSP_REQUEST;
typedef ... OCSP_RESPONSE;
typedef ... OCSP_BASICRESP;
typedef ... OCSP_SINGLERESP;
typedef ... ASN1_GENERALIZEDTIME;

static const int OCSP_RESPONSE_STATUS_SUCCESSFUL;
static const int V_OCSP_CERTSTATUS_GOOD;
static const int V_OCSP_CERTSTATUS_REVOKED;
static const int OCSP_NOINTERN;
static const int OCSP_NOSIGS;
static const int OCSP_NOCHAIN;
static const int OCSP_NOVERIFY;
static const int OCSP_NOEXPLICIT;
static const int OCSP_NOCASIGN;
static const int OCSP_NODELEGATED;
static const int OCSP_NOCHECKS;
static const int OCSP_TRUSTOTHER;
static const int X509_V_FLAG_PARTIAL_CHAIN;
"""

FUNCTIONS = """
void OCSP_REQUEST_free(OCSP_REQUEST *);
int i2d_OCSP_REQUEST(OCSP_REQUEST *, unsigned char **);
OCSP_RESPONSE *d2i_OCSP_RESPONSE(OCSP_RESPONSE **, const unsigned char **, long);
void OCSP_RESPONSE_free(OCSP_RESPONSE *);
int OCSP_response_status(OCSP_RESPONSE *);
const char *OCSP_response_status_str(long);
OCSP_BASICRESP *OCSP_response_get1_basic(OCSP_RESPONSE *);
void OCSP_BASICRESP_free(OCSP_BASICRESP *);
int OCSP_check_nonce(OCSP_REQUEST *, OCSP_BASICRESP *);
int OCSP_basic_verify(OCSP_BASICRESP *, CULVERT_X509S *, X509_STORE *, unsigned long);
int OCSP_resp_get0_signer(OCSP_BASICRESP *, X509 **, CULVERT_X509S *);
int OCSP_single_get0_status(OCSP_SINGLERESP *, int *, ASN1_GENERALIZEDTIME **, ASN1_GENERALIZEDTIME **,
                            ASN1_GENERALIZEDTIME **);
int OCSP_check_validity(ASN1_GENERALIZEDTIME *, ASN1_GENERALIZEDTIME *, long, long);
const char *OCSP_crl_reason_str(long);

OCSP_REQUEST *culvert_ocsp_question(X509 *, X509 *, int);
OCSP_SINGLERESP *culvert_ocsp_about(OCSP_BASICRESP *, X509 *, X509 *);
char *culvert_ocsp_responder(X509 *, int);
int64_t culvert_epoch(const ASN1_GENERALIZEDTIME *);
"""

CUSTOM = """
static OCSP_REQUEST *asking_about(OCSP_CERTID *id, int with_nonce)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    if (!request || !OCSP_request_add0_id(request, id)) {
        OCSP_CERTID_free(id);
        OCSP_REQUEST_free(request);
        return NULL;
    }
    if (with_nonce && !OCSP_request_add1_nonce(request, NULL, -1)) {
        OCSP_REQUEST_free(request);
        return NULL;
    }
    return request;
}

/* A question about one certificate.  Responders of every age know SHA-1 in its place (RFC 5019, 2.1.1). */
static OCSP_REQUEST *culvert_ocsp_question(X509 *certificate, X509 *issuer, int with_nonce)
{
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, certificate, issuer);
    return id ? asking_about(id, with_nonce) : NULL;
}

static int is_about(const OCSP_CERTID *theirs, X509 *certificate, X509 *issuer)
{
    ASN1_OBJECT *digest = NULL;
    OCSP_id_get0_info(NULL, &digest, NULL, NULL, (OCSP_CERTID *)theirs);
    const EVP_MD *algorithm = digest ? EVP_get_digestbyobj(digest) : NULL;
    OCSP_CERTID *ours = algorithm ? OCSP_cert_to_id(algorithm, certificate, issuer) : NULL;
    int same = ours && !OCSP_id_cmp(ours, theirs);
    OCSP_CERTID_free(ours);
    return same;
}

/* What an answer says of that certificate, NULL when nothing.  Nobody asked for a stapled answer, so its hash
 * may be another one than ours. */
static OCSP_SINGLERESP *culvert_ocsp_about(OCSP_BASICRESP *answer, X509 *certificate, X509 *issuer)
{
    for (int position = 0; position < OCSP_resp_count(answer); position++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(answer, position);
        if (is_about(OCSP_SINGLERESP_get0_id(single), certificate, issuer))
            return single;
    }
    return NULL;
}

static const ASN1_STRING *responder_in(const ACCESS_DESCRIPTION *entry)
{
    if (OBJ_obj2nid(entry->method) != NID_ad_OCSP || entry->location->type != GEN_URI)
        return NULL;
    const ASN1_STRING *uri = entry->location->d.uniformResourceIdentifier;
    size_t size = (size_t)ASN1_STRING_length(uri);
    return size && !memchr(ASN1_STRING_get0_data(uri), 0, size) ? uri : NULL;
}

/* The URL of a responder that a certificate names, the caller's to free; NULL behind the last.
 * (X509_get1_ocsp(3) would sort them.) */
static char *culvert_ocsp_responder(X509 *certificate, int position)
{
    AUTHORITY_INFO_ACCESS *all = X509_get_ext_d2i(certificate, NID_info_access, NULL, NULL);
    char *found = NULL;
    for (int at = 0; all && !found && at < sk_ACCESS_DESCRIPTION_num(all); at++) {
        const ASN1_STRING *uri = responder_in(sk_ACCESS_DESCRIPTION_value(all, at));
        if (uri && position-- == 0)
            found = OPENSSL_strndup((const char *)ASN1_STRING_get0_data(uri), ASN1_STRING_length(uri));
    }
    AUTHORITY_INFO_ACCESS_free(all);
    return found;
}

/* Seconds since 1970, 0 for none. */
static int64_t culvert_epoch(const ASN1_GENERALIZEDTIME *moment)
{
    struct tm broken_down;
    if (!moment || !ASN1_TIME_to_tm(moment, &broken_down))
        return 0;
    return timegm(&broken_down);
}
"""
