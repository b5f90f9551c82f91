"""What must hold between the options of a section.

Each rule is a function that yields complaints.  `RULES` has all of them, by topic; `checks` asks them in
this order.
"""

from __future__ import annotations

from culvert.config.rules import admission, certificates, endpoints, negotiation, proxying, tls
from culvert.config.rules.case import Case, Complaint, Rule

RULES: tuple[Rule, ...] = (
    *certificates.RULES,
    *negotiation.RULES,
    *tls.RULES,
    *endpoints.RULES,
    *admission.RULES,
    *proxying.RULES,
)

__all__ = ["RULES", "Case", "Complaint", "Rule"]
