"""Runs the echo server for the official suites: `python -m tests.echo.server --port N`."""

import argparse
import secrets
import sys
import traceback

import trio

from djactors.net import Listener
from tests.echo.application import EchoApplication


async def serve(port: int) -> None:
    application = EchoApplication(random_token=lambda: secrets.token_urlsafe(18))
    listener = Listener(
        application, port=port, on_error=lambda error, peer: traceback.print_exception(error, file=sys.stderr)
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(application.engine.run)
        await nursery.start(application.socket.run)
        await nursery.start(listener.run)
        assert listener.address is not None
        print("listening on http://{}:{}".format(*listener.address), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    trio.run(serve, parser.parse_args().port)
