"""A small site on the backend, the servers it is run under, the crowd in front of it and the line behind it."""
