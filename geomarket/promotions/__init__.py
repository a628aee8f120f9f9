"""Promotions: how sales respond to offers, and which offers pay where."""

from __future__ import annotations

from geomarket.promotions.holdout import response_holdout
from geomarket.promotions.panel import promotion_panel
from geomarket.promotions.plan import PromotionPlan
from geomarket.promotions.planner import plan_promotions
from geomarket.promotions.relationship import Relationship, fit_relationship
from geomarket.promotions.response import PromotionResponse, fit_response
from geomarket.promotions.rules import Ban, Blackout, PromotionRules
from geomarket.promotions.shrinkage import shrink
from geomarket.promotions.stores import StoreResponse, fit_store_response, response_by_type
from geomarket.promotions.targeting import (
    AddressedContacts,
    DoorDrops,
    leaflet_values,
    target_customers,
    target_hexagons,
)

__all__ = [
    "AddressedContacts",
    "Ban",
    "Blackout",
    "DoorDrops",
    "PromotionPlan",
    "PromotionResponse",
    "PromotionRules",
    "Relationship",
    "StoreResponse",
    "fit_relationship",
    "fit_response",
    "fit_store_response",
    "leaflet_values",
    "plan_promotions",
    "promotion_panel",
    "response_by_type",
    "response_holdout",
    "shrink",
    "target_customers",
    "target_hexagons",
]
