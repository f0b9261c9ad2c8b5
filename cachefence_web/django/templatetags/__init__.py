"""The templates of the package load their tags from here."""
