"""A Flask application that tells its customers what became of their orders."""

import os

from flask import Flask, abort, request
from flask.typing import ResponseReturnValue

from djactors import Client
from djactors.client import DjactorsError, RetryPolicy, signed_by
from djactors.domain.events import NotificationRequested

TENANT = 1

app = Flask(__name__)
# All threads share it. Whoever waits for the page does not wait longer than these seconds for djactors.
client = Client(os.environ["DJACTORS_URL"], signed_by(os.environ["JWT_SECRET"], TENANT), retries=RetryPolicy(timeout=5))


@app.post("/orders/<int:number>/ship")
def ship(number: int) -> ResponseReturnValue:
    """Ship an order. The event has an id, so that its customer is notified once, however often this is posted."""
    customer = request.get_json().get("customer")
    if not isinstance(customer, int):
        abort(400, "customer: must be the id of a person")
    published = client.publish(
        NotificationRequested(
            id=f"order-{number}-shipped",
            tenant_id=TENANT,
            user_id=customer,
            notification_type="order_shipped",
            priority="MEDIUM",
            title=f"Order {number} is on its way",
            data={"order": number},
        )
    )
    return {"notified": [notification.user_id for notification in published.notifications]}


@app.errorhandler(DjactorsError)
def not_published(error: DjactorsError) -> ResponseReturnValue:
    """Ask for another try."""
    app.logger.error("djactors", exc_info=error)
    return {"error": "the customer could not be notified; try again"}, 503
