"""Other people's tests of a cache backend, run against ours: Django's own, and those of django-redis."""
