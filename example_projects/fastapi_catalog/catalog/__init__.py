"""A catalogue of bright stars and the nights they were watched."""
