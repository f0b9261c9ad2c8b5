"""The app whose pages are followed."""
