"""Proxies as README configures them, in front of servers of a test. Each is a process of its own."""

import os
import random
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

START_SECONDS = 10.0
STOP_SECONDS = 10.0

QUIET_PORTS = range(20_000, 32_000)
"""Linux gives out those from 32,768 on."""

# What Debian's own nginx.conf has around the text of README: where files are, and nothing of the server.
NGINX_AROUND = """\
daemon off;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{text}
}}
"""

# Those of Debian's modules and settings that bear on a proxy, and the modules that README has enabled.
APACHE_AROUND = """\
ServerRoot {directory}
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
User www-data
Group www-data
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule env_module /usr/lib/apache2/modules/mod_env.so
LoadModule filter_module /usr/lib/apache2/modules/mod_filter.so
LoadModule deflate_module /usr/lib/apache2/modules/mod_deflate.so
LoadModule reqtimeout_module /usr/lib/apache2/modules/mod_reqtimeout.so
LoadModule socache_shmcb_module /usr/lib/apache2/modules/mod_socache_shmcb.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
AddOutputFilterByType DEFLATE text/html text/plain text/xml text/css
RequestReadTimeout header=20-40,minrate=500 body=10,minrate=500
{text}
"""

# Caddy would ask an authority for certificates, and serve its administrator on a port that is the same for all tests.
CADDY_AROUND = """\
{{
    admin off
    auto_https disable_redirects
    storage file_system {directory}
}}
{text}
"""


def free_port() -> int:
    """A port that nobody has at the moment. The proxies do not tell which one they were given, and a node that is
    started again must get the same one. So it is none of those that the system gives to whoever asks for any."""
    while True:
        port = random.choice(QUIET_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def with_ports(text: str, ports: Mapping[int, int]) -> str:
    """README's text with other ports."""
    found = set()

    def other(match: re.Match[str]) -> str:
        found.add(int(match[0]))
        return str(ports[int(match[0])])

    text = re.sub(rf"\b(?:{'|'.join(map(str, ports))})\b", other, text)
    assert found == set(ports), f"README's text has not all of the ports {sorted(ports)}"
    return text


@contextmanager
def running_nginx(text: str, port: int) -> Iterator[None]:
    """Run nginx with what goes into its `http` block."""
    with tempfile.TemporaryDirectory(prefix="djactors-nginx-") as folder:
        settings = Path(folder, "nginx.conf")
        settings.write_text(NGINX_AROUND.format(directory=folder, text=text))
        settings.parent.chmod(0o755)  # its workers are of another user
        started = subprocess.Popen(["nginx", "-e", "stderr", "-p", folder, "-c", settings], stdin=subprocess.DEVNULL)
        with _until_it_ends(started, port):
            yield


@contextmanager
def running_haproxy(text: str, port: int) -> Iterator[None]:
    """Run haproxy with this configuration."""
    with tempfile.TemporaryDirectory(prefix="djactors-haproxy-") as folder:
        settings = Path(folder, "haproxy.cfg")
        settings.write_text(text)
        started = subprocess.Popen(["haproxy", "-q", "-db", "-f", settings], stdin=subprocess.DEVNULL)
        with _until_it_ends(started, port):
            yield


@contextmanager
def running_apache(text: str, port: int) -> Iterator[None]:
    """Run Apache with this in its configuration. It listens on the port by itself, as by Debian's `ports.conf`."""
    with tempfile.TemporaryDirectory(prefix="djactors-apache-") as folder:
        settings = Path(folder, "apache2.conf")
        settings.write_text(APACHE_AROUND.format(directory=folder, port=port, text=text))
        settings.parent.chmod(0o755)  # its workers are of another user
        started = subprocess.Popen(["apache2", "-D", "FOREGROUND", "-f", settings], stdin=subprocess.DEVNULL)
        with _until_it_ends(started, port):
            yield


@contextmanager
def running_caddy(text: str, port: int) -> Iterator[None]:
    """Run Caddy with these sites."""
    with tempfile.TemporaryDirectory(prefix="djactors-caddy-") as folder:
        settings = Path(folder, "Caddyfile")
        settings.write_text(CADDY_AROUND.format(directory=folder, text=text))
        started = subprocess.Popen(
            ["caddy", "run", "--config", settings, "--adapter", "caddyfile"],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder},
        )
        with _until_it_ends(started, port):
            yield


@contextmanager
def _until_it_ends(process: "subprocess.Popen[bytes]", port: int) -> Iterator[None]:
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            assert process.poll() is None, "it refused its configuration"
            try:
                with closing(socket.create_connection(("127.0.0.1", port), 1)):
                    break
            except OSError:
                assert time.monotonic() < deadline, "it does not listen"
                time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
