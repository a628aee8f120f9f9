"""``python -m geomarket``."""

from geomarket.cli import main

main()
