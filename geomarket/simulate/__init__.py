"""A simulated market: an invented city with every table a plan needs, and its known truth."""

from geomarket.simulate.files import write_simulated_market
from geomarket.simulate.market import simulate_market
from geomarket.simulate.truth import SimulatedTruth

__all__ = ["SimulatedTruth", "simulate_market", "write_simulated_market"]
