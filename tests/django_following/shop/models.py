"""Books in every relation that a write can travel along."""

from __future__ import annotations

import uuid

from django.db import models

BY_DATABASE = getattr(models, "DB_CASCADE", None)
"""Django 6.1 and later."""


class Author(models.Model):
    name = models.CharField(max_length=50, unique=True)

    class Meta:
        app_label = "followed"


class Label(models.Model):
    code = models.CharField(max_length=20, primary_key=True)

    class Meta:
        app_label = "followed"


class Book(models.Model):
    title = models.CharField(max_length=50)
    isbn = models.CharField(max_length=20, unique=True)
    price = models.IntegerField(default=1)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books", null=True)
    labels = models.ManyToManyField(Label, related_name="books")

    class Meta:
        app_label = "followed"


class Ebook(Book):
    size = models.IntegerField(default=1)

    class Meta:
        app_label = "followed"


class Review(models.Model):
    book = models.ForeignKey(Book, models.CASCADE, related_name="reviews")
    stars = models.IntegerField()

    class Meta:
        app_label = "followed"


class Box(models.Model):
    uid = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=20)

    class Meta:
        app_label = "followed"


class Parcel(models.Model):
    box = models.ForeignKey(Box, BY_DATABASE or models.CASCADE, related_name="parcels")

    class Meta:
        app_label = "followed"
