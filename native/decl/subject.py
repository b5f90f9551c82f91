"""<openssl/x509.h>: single parts of a certificate."""

from __future__ import annotations

INCLUDES = """
#include <openssl/x509.h>
"""

TYPES = """
typedef ... X509_NAME_ENTRY;
typedef ... ASN1_STRING;

static const int NID_commonName;
"""

FUNCTIONS = """
int X509_NAME_get_index_by_NID(const X509_NAME *, int, int);
X509_NAME_ENTRY *X509_NAME_get_entry(const X509_NAME *, int);
ASN1_STRING *X509_NAME_ENTRY_get_data(const X509_NAME_ENTRY *);
int ASN1_STRING_to_UTF8(unsigned char **, const ASN1_STRING *);
int X509_get_signature_nid(const X509 *);
"""

CUSTOM = ""
