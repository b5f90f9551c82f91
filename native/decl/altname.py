"""openssl/x509v3.h: the other names of a certificate, one by one."""

from __future__ import annotations

INCLUDES = """
#include <openssl/x509v3.h>
"""

TYPES = """
#define GEN_EMAIL ...
#define GEN_DNS ...
#define GEN_URI ...
#define GEN_IPADD ...
"""

FUNCTIONS = """
void *culvert_altnames(X509 *certificate);
void culvert_altnames_free(void *names);
int culvert_altname(void *names, int position, int *kind, const unsigned char **start);
int i2a_ASN1_INTEGER(BIO *, const ASN1_INTEGER *);
const ASN1_INTEGER *X509_get0_serialNumber(const X509 *);
"""

CUSTOM = """
/* The names of the extension, to be freed, or NULL when there is none that can be read. */
static void *culvert_altnames(X509 *certificate) {
    return X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}

static void culvert_altnames_free(void *names) {
    GENERAL_NAMES_free(names);
}

/* The octets of a name of a kind that we know: their number, 0 for another kind, -1 behind the last name. */
static int culvert_altname(void *names, int position, int *kind, const unsigned char **start) {
    const GENERAL_NAME *name;
    const ASN1_STRING *value;
    if (position >= sk_GENERAL_NAME_num(names))
        return -1;
    name = sk_GENERAL_NAME_value(names, position);
    *kind = name->type;
    if (name->type != GEN_EMAIL && name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_IPADD)
        return 0;
    value = name->type == GEN_IPADD ? name->d.iPAddress : name->d.ia5;
    *start = ASN1_STRING_get0_data(value);
    return ASN1_STRING_length(value);
}
"""
