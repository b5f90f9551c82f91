"""<openssl/ui.h>: how OpenSSL asks for a pass phrase or a PIN: through Python, never the terminal itself."""

from __future__ import annotations

INCLUDES = """
#include <openssl/ui.h>
"""

TYPES = """
typedef ... UI;
typedef ... UI_STRING;
typedef ... UI_METHOD;
"""

FUNCTIONS = """
const char *UI_get0_output_string(UI_STRING *);
int UI_set_result(UI *, UI_STRING *, const char *);
void *UI_get0_user_data(UI *);
UI_METHOD *culvert_asking(void);

extern "Python+C" int culvert_on_prompt(UI *, UI_STRING *);
"""

CUSTOM = """
int culvert_on_prompt(UI *, UI_STRING *);

static int prompt(UI *ui, UI_STRING *string)
{
    int type = UI_get_string_type(string);
    if (type != UIT_PROMPT && type != UIT_VERIFY)
        return 1; /* words for the operator: the prompt says enough */
    return culvert_on_prompt(ui, string);
}

/* Made once; it lives as long as the process.  NULL when memory is out. */
static UI_METHOD *culvert_asking(void)
{
    static UI_METHOD *method;
    if (!method && (method = UI_create_method("culvert")))
        UI_method_set_reader(method, prompt);
    return method;
}
"""
