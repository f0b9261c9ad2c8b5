"""Books, who wrote them, and what is said of them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=50)
    born = models.DateField()


class Book(models.Model):
    title = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    pages = models.IntegerField()
    published = models.DateField()
    shelf = models.IntegerField(db_index=True)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")


class Review(models.Model):
    text = models.TextField()
    stars = models.IntegerField()
    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["stars"])]
