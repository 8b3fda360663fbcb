"""What goes wrong between a program and the server in its thread."""


class PortalError(Exception):
    """The base of these errors, and one that says how the portal was used wrongly."""


class PortalStopped(PortalError):  # noqa: N818 - it names a state
    """The server does not run: it was not started, was stopped, or had to give up. The message says which."""


class PortalBusy(PortalError):  # noqa: N818
    """As many calls wait for the server as may. Nothing was recorded: call again later."""


class PortalTimeout(PortalError):  # noqa: N818
    """The server did not answer in time. It may have recorded the events, so repeat them with the same `id`."""


class PortalForked(PortalError):  # noqa: N818
    """The process was forked after the server was started, and threads stay behind in the parent."""

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"the server runs in process {pid}, from which this one was forked: start the portal after the fork, with "
            "gunicorn in post_fork, and in one process only"
        )
