"""What every adapter that follows a database has in common."""
