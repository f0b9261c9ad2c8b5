"""Views that know what they read, over real databases."""
