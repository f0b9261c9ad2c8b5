"""How fast and how sparing the cache is, each number beside a floor and its peers, taken in the same run."""
