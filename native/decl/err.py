"""<openssl/err.h>: the error queue of the running thread."""

from __future__ import annotations

INCLUDES = """
#include <openssl/err.h>
#include <openssl/sslerr.h>
"""

TYPES = """
static const int ERR_LIB_SYS;
static const int ERR_LIB_SSL;
static const int ERR_TXT_STRING;
static const int SSL_AD_REASON_OFFSET;
"""

FUNCTIONS = """
unsigned long ERR_get_error(void);
unsigned long ERR_get_error_all(const char **, int *, const char **, const char **, int *);
unsigned long ERR_peek_error(void);
void ERR_clear_error(void);
void ERR_error_string_n(unsigned long, char *, size_t);
const char *ERR_reason_error_string(unsigned long);
int ERR_GET_LIB(unsigned long);
int ERR_GET_REASON(unsigned long);
"""

CUSTOM = ""
