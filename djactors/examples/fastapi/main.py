"""A FastAPI application that creates jobs and tells the designers of them."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request
from pydantic import BaseModel

from djactors import Client
from djactors.client import DjactorsError, RetryPolicy, signed_by
from djactors.domain.events import JobCreated

TENANT = 1
log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for all requests; they do not wait longer than these seconds for djactors."""
    signed = signed_by(os.environ["JWT_SECRET"], TENANT)
    with Client(os.environ["DJACTORS_URL"], signed, retries=RetryPolicy(timeout=5)) as client:
        app.state.djactors = client
        yield


app = FastAPI(lifespan=lifespan)


class Briefing(BaseModel):
    """What a customer wants made, and who makes it."""

    number: int
    title: str
    customer: int
    designer: int


def client_of(request: Request) -> Client:
    """The application's client."""
    client: Client = request.app.state.djactors
    return client


# A route without `async` runs in a thread, so the client may block.
@app.post("/jobs", status_code=201)
def create(briefing: Briefing, client: Annotated[Client, Depends(client_of)]) -> dict[str, list[int]]:
    """Create a job. The event has an id, so that its designer is notified once, however often this is posted."""
    job = JobCreated(
        id=f"job-{briefing.number}-created",
        tenant_id=TENANT,
        job_id=briefing.number,
        title=briefing.title,
        requester_id=briefing.customer,
        assignee_id=briefing.designer,
    )
    try:
        return {"notified": [notification.user_id for notification in client.publish(job).notifications]}
    except DjactorsError as error:
        log.exception("djactors")
        raise HTTPException(503, "the designer could not be notified; try again") from error
