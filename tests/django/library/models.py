"""Books in every relation that a signal can be about: proxies, children, many-to-many both ways."""

from __future__ import annotations

from django.db import models


class Tag(models.Model):
    name = models.CharField(max_length=50)


class Book(models.Model):
    title = models.CharField(max_length=50)
    tags = models.ManyToManyField(Tag, related_name="books")
    sequels = models.ManyToManyField("self", symmetrical=False, related_name="prequels")


class Favourite(Book):
    class Meta:
        proxy = True


class Novel(Book):
    pages = models.IntegerField(default=0)


class Reader(models.Model):
    name = models.CharField(max_length=50)


class Loan(models.Model):
    reader = models.ForeignKey(Reader, on_delete=models.CASCADE)
