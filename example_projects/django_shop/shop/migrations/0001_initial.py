"""The shop's two tables."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    operations = [
        migrations.CreateModel(
            name="Book",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(max_length=120)),
                ("author", models.CharField(max_length=80)),
                ("genre", models.CharField(max_length=40)),
                ("published", models.PositiveSmallIntegerField()),
                (
                    "price",
                    models.DecimalField(
                        decimal_places=2, max_digits=6, validators=[django.core.validators.MinValueValidator(0)]
                    ),
                ),
                ("blurb", models.TextField()),
            ],
            options={"ordering": ["title"]},
        ),
        migrations.CreateModel(
            name="Sale",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("customer", models.PositiveIntegerField(help_text="number on the customer's card")),
                ("sold_on", models.DateField()),
                ("copies", models.PositiveSmallIntegerField()),
                (
                    "book",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="sales", to="shop.book"
                    ),
                ),
            ],
            options={"indexes": [models.Index(fields=["customer", "book"], name="shop_sale_customer_book")]},
        ),
    ]
