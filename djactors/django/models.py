"""The outbox as Django's ORM sees it: the same table that `djactors.outbox` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models, router

from djactors.domain import lengths
from djactors.outbox import COLUMNS, TABLE, Outbox

if TYPE_CHECKING:
    from djactors.domain.events import DomainEvent

TIME_LENGTH = 32
"""A time of `djactors.domain.times` has 27 characters."""


class OutboxEvents(models.Manager):
    """The rows, and how one is added."""

    def publish(self, event: DomainEvent, *, using: str | None = None) -> str:
        """See `djactors.django.publish`."""
        key, values = Outbox().row(event)
        database = using or router.db_for_write(self.model)
        self.using(database).create(**dict(zip(COLUMNS, values, strict=True)))
        return key


class OutboxEvent(models.Model):
    """An event that waits to be sent, or that the server will never take: then `held_at` and `error` say so."""

    id = models.BigAutoField(primary_key=True)
    tenant_id = models.BigIntegerField()
    event_id = models.CharField(max_length=lengths.KEY)
    body = models.TextField()
    added_at = models.CharField(max_length=TIME_LENGTH)
    faults = models.IntegerField(default=0)
    held_at = models.CharField(max_length=TIME_LENGTH, null=True, blank=True)
    error = models.TextField(default="", blank=True)

    objects = OutboxEvents()

    class Meta:
        """Where it is, and what is found quickly in it."""

        db_table = TABLE
        verbose_name = "event"
        ordering = ("id",)
        indexes = (models.Index(fields=("id",), condition=models.Q(held_at__isnull=True), name=f"{TABLE}_waiting"),)

    def __str__(self) -> str:
        return f"{self.event_id}: {self.error}" if self.error else str(self.event_id)
