"""Figures about people fit to publish: small counts hidden, the attacker that tests it, consent, fairness."""

from geomarket.safeguards.attack import Bounds, Relation, attack
from geomarket.safeguards.audit import Audit, audit_tables
from geomarket.safeguards.consent import contact_list
from geomarket.safeguards.fairness import Exposure, exposure_ratio
from geomarket.safeguards.protected import protected_inputs, refuse_protected
from geomarket.safeguards.suppression import Suppressed, suppress, suppress_counts

__all__ = [
    "Audit",
    "Bounds",
    "Exposure",
    "Relation",
    "Suppressed",
    "attack",
    "audit_tables",
    "contact_list",
    "exposure_ratio",
    "protected_inputs",
    "refuse_protected",
    "suppress",
    "suppress_counts",
]
