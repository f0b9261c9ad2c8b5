"""Fill an empty shop: the same books, customers and sales on every machine."""

import csv
from datetime import date, timedelta
from pathlib import Path
from random import Random

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand
from django.db import transaction

from shop.models import Book, Sale

BOOKS = Path(__file__).resolve().parents[2] / "books.csv"
SALES, CUSTOMERS, TASTES, DAYS = 100_000, 3_600, 6, 730
OPENED = date(2024, 11, 1)


class Command(BaseCommand):
    help = __doc__

    def handle(self, *args: object, **options: object) -> None:
        if Book.objects.exists():
            return
        self.stdout.write(f"Seeding {SALES:,} sales ...")
        with transaction.atomic():
            with BOOKS.open(newline="", encoding="utf-8") as rows:
                books = Book.objects.bulk_create(Book(**row) for row in csv.DictReader(rows))
            Sale.objects.bulk_create(sales_of(books, Random(1907)), batch_size=5_000)
            User.objects.create_superuser("admin", password="admin")


def sales_of(books: list[Book], chance: Random) -> list[Sale]:
    """Invent sales in which some books are loved by all, and each customer has a taste."""
    ranks = range(len(books))
    weights = [[(12 if rank % TASTES == taste else 1) / (rank + 6) for rank in ranks] for taste in range(TASTES)]
    customers = [int(chance.triangular(1, CUSTOMERS, 1)) for _ in range(SALES)]
    return [
        Sale(
            book=chance.choices(books, weights[customer % TASTES])[0],
            customer=customer,
            sold_on=OPENED + timedelta(days=chance.randrange(DAYS)),
            copies=chance.choice((1, 1, 1, 2, 3)),
        )
        for customer in customers
    ]
