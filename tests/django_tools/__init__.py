"""What comes with the backend: system checks, the template tag, the command, the pytest plugin."""
