"""The examples without a framework or a page: each tells somebody, and no more than once."""

from __future__ import annotations

import json
from urllib.request import urlopen

from tests.examples.example import PATIENCE, Installed, inbox, wait_for
from tests.serving import make_token, service_token
from tests.web.site import Site


def test_the_script_for_cron_tells_of_an_overdue_order_once_a_day(example: Installed, site: Site) -> None:
    overdue = example("cron")
    with overdue.running() as program:
        assert (program.process.wait(PATIENCE), program.output) == (0, "")
    assert inbox(site) == ["Order 4711 was due on 2025-01-27"]
    (overdue.folder / "orders.csv").write_text("4711,2,2025-01-27\n4712,2,2999-01-01\n")
    assert overdue.run("./overdue.sh") == ""
    assert inbox(site) == ["Order 4711 was due on 2025-01-27"]


def test_the_script_for_cron_loses_no_line_however_lines_end(example: Installed, site: Site) -> None:
    overdue = example("cron")
    expected: list[str] = []
    for first, (ending, last) in enumerate([("\n", "\n"), ("\n", ""), ("\r\n", "\r\n"), ("\r\n", ""), ("\n\n", "\n")]):
        orders = [10 * first + 1, 10 * first + 2]
        lines = ending.join(f"{order},2,2025-01-27" for order in orders) + last
        (overdue.folder / "orders.csv").write_bytes(lines.encode())
        assert overdue.run("./overdue.sh") == ""
        expected = [f"Order {order} was due on 2025-01-27" for order in reversed(orders)] + expected
        assert inbox(site) == expected


def test_the_script_for_cron_names_each_line_that_it_does_not_understand_and_tells_of_the_others(
    example: Installed, site: Site
) -> None:
    overdue = example("cron")
    wrong = [
        "order,user,due",
        '5,2,",1":',
        ",2,2025-01-27",
        "5,,2025-01-27",
        "5,2,",
        "5,2",
        "5",
        ",",
        "5,2,2025-01-27,6",
        "5, 2,2025-01-27",
        "\ufeff5,2,2025-01-27",
        "5,2,27.1.2025",
    ]
    for last in ("\n", ""):
        lines = ["1,2,2025-01-27", *wrong, "2,2,2025-01-27", "5;2;2025-01-27"]
        (overdue.folder / "orders.csv").write_text("\n".join(lines) + last, encoding="utf-8")
        assert overdue.run("! ./overdue.sh").splitlines() == [
            f"line {number} is not ORDER,USER,DUE: {line}"
            for number, line in enumerate(lines, 1)
            if line in wrong or ";" in line
        ]
    assert inbox(site) == ["Order 2 was due on 2025-01-27", "Order 1 was due on 2025-01-27"]


def test_the_script_for_cron_says_what_was_refused(example: Installed) -> None:
    assert "401" in example("cron").run("! DJACTORS_TOKEN=wrong ./overdue.sh")


def test_javas_client_posts_although_it_offers_http_2_first(example: Installed, site: Site) -> None:
    java = example("java")
    with java.running() as program:
        program.expect('"userId":2')
        assert program.process.wait(PATIENCE) == 0
    assert inbox(site) == ["The report is ready"]


def test_prometheus_scrapes_djactors_once_it_is_a_target(example: Installed, port: int) -> None:
    prometheus = example("prometheus")
    assert "SUCCESS" in prometheus.run("promtool check config prometheus.yml")
    prometheus.run("sed -i s/15s/100ms/ prometheus.yml")
    with prometheus.running() as program:
        program.expect("Server is ready to receive web requests")
        wait_for(lambda: scraped(port) == "up")


def scraped(port: int) -> str:
    """What Prometheus says of djactors; nothing before it has read its targets."""
    with urlopen(f"http://127.0.0.1:{port}/api/v1/targets", timeout=PATIENCE) as answer:
        targets = json.load(answer)["data"]["activeTargets"]
    return next((str(one["health"]) for one in targets if one["labels"]["job"] == "djactors"), "")


def test_the_client_of_a_socket_io_team_needs_another_address_and_nothing_else(
    example: Installed, site: Site, port: int
) -> None:
    team = example("socketio")
    theirs = f"http://127.0.0.1:{port}"
    token = make_token(tenant_id=1, user_id=2)
    with team.running("node server.mjs") as server:
        server.expect(theirs)
        with team.running(f"node client.mjs {theirs} {token}") as client:
            client.expect("unread: 0")
            team.try_it(port)
            client.expect("unread: 0", times=2)
            client.expect("read: true")
            before = client.output.split("\n")
    with team.running() as client:
        client.expect("unread: 0")
        shipped = {"type": "notification.requested", "tenantId": 1, "userId": 2, "notificationType": "order_shipped"}
        shipped |= {"priority": "LOW", "title": "Order 4711 is on its way"}
        site.request("POST", "/api/events", service_token(1), shipped)
        client.expect("unread: 0", times=2)
        client.expect("read: true")
        # The answer and the new count may come in either order.
        assert sorted(client.output.split("\n")) == sorted(before)
