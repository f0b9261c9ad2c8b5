"""A third driver for the real plans, which tries every interleaving, crash and loss there can be.

`world.py` is a state, `shapes.py` tells whether it has been seen, `processes.py` what runs in it, `driver.py` gives
plans their answers, `steps.py` is the store and what is promised of it, `moves.py` and `mishaps.py` what can happen
next, `search.py` goes everywhere, `scopes.py` says where, and `removals.py` which checks it notices the lack of.
`cluster.py` is a store on two servers, whose steps come in parts; it has scopes and removals of its own.
"""
