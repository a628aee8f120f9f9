"""Scripts and styles of the report page; read with :func:`geomarket.hexmap.asset_text`."""
