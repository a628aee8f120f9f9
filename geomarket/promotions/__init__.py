"""Promotions: how sales respond to offers, and which offers pay where."""

from __future__ import annotations

from geomarket.promotions.panel import promotion_panel
from geomarket.promotions.planner import PromotionPlan, plan_promotions
from geomarket.promotions.relationship import Relationship, fit_relationship
from geomarket.promotions.response import PromotionResponse, fit_response
from geomarket.promotions.rules import PromotionRules
from geomarket.promotions.shrinkage import shrink

__all__ = [
    "PromotionPlan",
    "PromotionResponse",
    "PromotionRules",
    "Relationship",
    "fit_relationship",
    "fit_response",
    "plan_promotions",
    "promotion_panel",
    "shrink",
]
