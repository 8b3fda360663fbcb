"""nginx with its nchan module: C that stores nothing, and pushes what is posted to a WebSocket. The floor of pushing.

It is no peer: nothing is checked, counted or kept. Users are plain subscribers.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.commands import Target
from bench.process import free_port, running

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PACKAGES = "nginx libnginx-mod-nchan"
CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log {directory}/error.log warn;
pid {directory}/nginx.pid;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        keepalive_requests 100000000;
        location ~ ^/pub/(\\d+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_store_messages off;
        }}
        location ~ ^/sub/(\\d+)$ {{
            nchan_subscriber websocket;
            nchan_channel_id $1;
        }}
    }}
}}
"""


def find_nchan() -> str | None:
    """The nginx to run, None where it or the module is not installed."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin")
    return nginx if nginx is not None and MODULE.is_file() else None


@contextmanager
def nchan_server(directory: Path) -> Iterator[Target]:
    """Run it. Raises FileNotFoundError where `find_nchan` finds none, DidNotStartError."""
    nginx = find_nchan()
    if nginx is None:
        raise FileNotFoundError(f"no nchan: apt-get install {PACKAGES}")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = directory / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(module=MODULE, directory=directory, port=port))
    checked = subprocess.run([nginx, "-t", "-q", "-c", configuration], capture_output=True, text=True, check=False)
    if checked.returncode:
        raise FileNotFoundError(f"nginx does not take its configuration: {checked.stderr}")
    command: list[str | Path] = [nginx, "-c", configuration]
    with running(command, directory / "nginx.log", {}, port=port) as (pid, host, port):
        yield Target(name="nchan", host=host, port=port, secret="-" * 32, processes={"server": pid}, dialect="plain")
