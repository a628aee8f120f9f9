"""geomarket: a geodemographic local-marketing planner."""
