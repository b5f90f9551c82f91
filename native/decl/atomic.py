"""<stdatomic.h>: words in memory that several processes share."""

from __future__ import annotations

INCLUDES = """
#include <stdint.h>
"""

TYPES = ""

FUNCTIONS = """
int culvert_swap(void *, uint64_t, uint64_t);
"""

CUSTOM = """
/* Make `place`, which is aligned, `becomes` when it is `was`, in one step for all processes.  Returns whether
 * it did.  What was written before is seen by whoever swaps after (C11, 7.17.7.4). */
static int culvert_swap(void *place, uint64_t was, uint64_t becomes)
{
    const int order = __ATOMIC_SEQ_CST;
    return __atomic_compare_exchange_n((uint64_t *)place, &was, becomes, 0, order, order);
}
"""
