"""The outbox in Django's admin: what waits, what is held and why, and how to have it sent again."""

from __future__ import annotations

from typing import Any

from django.contrib import admin

from djactors.django.models import OutboxEvent


@admin.register(OutboxEvent)
class OutboxEventAdmin(admin.ModelAdmin):
    """Rows are read, deleted and released here; the program alone writes them."""

    list_display = ("id", "tenant_id", "event_id", "added_at", "held_at", "error")
    list_filter = (("held_at", admin.EmptyFieldListFilter),)
    search_fields = ("event_id", "error")
    actions = ("release",)

    @admin.action(description="Send the selected events again", permissions=["view"])
    def release(self, request: Any, queryset: Any) -> None:
        """Have events that are held sent again."""
        count = queryset.filter(held_at__isnull=False).update(held_at=None, faults=0, error="")
        self.message_user(request, f"{count} events will be sent again.")

    def has_add_permission(self, request: Any) -> bool:
        """Events come from the program."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """An event that was changed would be another one under the same id."""
        return False
