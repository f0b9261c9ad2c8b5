"""The models of the Django tests."""
