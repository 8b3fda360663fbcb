"""The table of the outbox, as `djactors.outbox.Outbox.ddl` makes it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The first one."""

    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("tenant_id", models.BigIntegerField()),
                ("event_id", models.CharField(max_length=255)),
                ("body", models.TextField()),
                ("added_at", models.CharField(max_length=32)),
                ("faults", models.IntegerField(default=0)),
                ("held_at", models.CharField(blank=True, max_length=32, null=True)),
                ("error", models.TextField(blank=True, default="")),
            ],
            options={
                "verbose_name": "event",
                "db_table": "djactors_outbox",
                "ordering": ("id",),
                "indexes": [
                    models.Index(
                        condition=models.Q(("held_at__isnull", True)), fields=["id"], name="djactors_outbox_waiting"
                    )
                ],
            },
        ),
    )
