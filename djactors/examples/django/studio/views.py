"""The studio's API. A real one has its own authentication.

Each view is one transaction: what it and the signals publish is committed with what it changes, or not at all.
"""

import json

from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST

from djactors.django import publish
from djactors.domain.events import JobAssigned
from studio.models import Job


@require_POST
@transaction.atomic
def create(request: HttpRequest) -> JsonResponse:
    """Create a job. The signal tells djactors."""
    asked = json.loads(request.body)
    job = Job.objects.create(title=asked["title"], requester=get_object_or_404(User, username=asked["requester"]))
    return JsonResponse({"id": job.pk}, status=201)


@require_POST
@transaction.atomic
def assign(request: HttpRequest, number: int) -> JsonResponse:
    """Give a job to somebody."""
    job = get_object_or_404(Job.objects.select_for_update(), pk=number)
    job.assignee = get_object_or_404(User, username=json.loads(request.body)["assignee"])
    job.save()
    publish(JobAssigned(tenant_id=1, actor_id=job.requester_id, job_id=job.pk, assignee_id=job.assignee.pk))
    return JsonResponse({"id": job.pk, "assignee": job.assignee.username})
