"""Books, and every copy of them that ever crossed the counter."""

from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse


class Book(models.Model):
    title = models.CharField(max_length=120)
    author = models.CharField(max_length=80)
    genre = models.CharField(max_length=40)
    published = models.PositiveSmallIntegerField()
    price = models.DecimalField(max_digits=6, decimal_places=2, validators=[MinValueValidator(0)])
    blurb = models.TextField()

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("book", args=[self.pk])

    @property
    def hue(self) -> int:
        """The colour of the cover, in degrees of the colour wheel, far from its neighbours'."""
        return (150 + self.pk * 47) % 360

    @property
    def pattern(self) -> int:
        """Which of the stylesheet's six covers the book wears."""
        return self.pk % 6


class Sale(models.Model):
    book = models.ForeignKey(Book, on_delete=models.CASCADE, related_name="sales")
    customer = models.PositiveIntegerField(help_text="number on the customer's card")
    sold_on = models.DateField()
    copies = models.PositiveSmallIntegerField()

    class Meta:
        indexes = [models.Index(fields=["customer", "book"], name="shop_sale_customer_book")]

    def __str__(self) -> str:
        return f"{self.copies} x {self.book_id} to {self.customer}"
