"""A Django application: what the pages of the benchmark show."""
