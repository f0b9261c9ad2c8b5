"""A real browser in front of a cached page."""
