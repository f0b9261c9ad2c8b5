"""Decisions, and nothing else: no clock, no randomness, no I/O, no threads, no framework.

Read `plans.py` and then `leading.py` from top to bottom; the other modules are their vocabulary.
"""
