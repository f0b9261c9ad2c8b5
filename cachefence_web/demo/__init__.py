"""`cachefence-web demo`: the promises, shown on the example projects under their real servers."""
