"""The outbox, for caches with `on_outage="outbox"`; empty for all others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Makes the table."""

    initial = True
    dependencies = []  # noqa: RUF012 (as Django has it)
    operations = [  # noqa: RUF012 (as Django has it)
        migrations.CreateModel(
            name="Outbox",
            fields=[
                ("id", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("namespace", models.CharField(max_length=100)),
                ("tags", models.TextField()),
            ],
            options={
                "verbose_name": "outbox",
                "verbose_name_plural": "outbox",
                "db_table": "cachefence_outbox",
                "default_permissions": (),
            },
        ),
    ]
