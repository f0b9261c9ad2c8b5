"""Where entries and dates live: each store performs the atomic steps of `core/effects.py`, and decides nothing."""
