"""What the studio works on."""

from django.conf import settings
from django.db import models


class Job(models.Model):
    """A piece of work, which somebody is asked to do."""

    title = models.CharField(max_length=255)
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="requested")
    assignee = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="assigned", null=True)
