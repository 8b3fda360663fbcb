"""djactors learns of people and jobs whenever they are saved.

`save()` commits before it sends `post_save`. So whoever saves a job does it in a transaction of their own, as the views
do; the event is then committed with the job.
"""

from typing import Any

from django.contrib.auth.models import User
from django.db.models.signals import post_save
from django.dispatch import receiver

from djactors.django import publish
from djactors.domain.events import JobCreated, UserUpserted
from studio.models import Job


@receiver(post_save, sender=User)
def person_saved(instance: User, raw: bool, **_: Any) -> None:
    """Tell the person's name and role. What loaddata saves (`raw`) is no news."""
    if not raw:
        role = "manager" if instance.is_staff else "user"
        publish(
            UserUpserted(
                tenant_id=1, user_id=instance.pk, name=instance.get_full_name() or instance.username, role=role
            )
        )


@receiver(post_save, sender=Job)
def job_saved(instance: Job, created: bool, raw: bool, **_: Any) -> None:
    """Tell of a new job; djactors takes its number from here."""
    if created and not raw:
        publish(JobCreated(tenant_id=1, job_id=instance.pk, title=instance.title, requester_id=instance.requester_id))
