"""Figures about people fit to publish: small counts hidden, the attacker that tests it, consent."""

from geomarket.safeguards.attack import Bounds, Relation, attack
from geomarket.safeguards.audit import Audit, audit_tables
from geomarket.safeguards.consent import contact_list
from geomarket.safeguards.suppression import Suppressed, suppress, suppress_counts

__all__ = [
    "Audit",
    "Bounds",
    "Relation",
    "Suppressed",
    "attack",
    "audit_tables",
    "contact_list",
    "suppress",
    "suppress_counts",
]
