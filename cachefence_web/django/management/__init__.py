"""The command that the package adds to manage.py."""
