"""Django's record of how the tables of this app came to be."""
