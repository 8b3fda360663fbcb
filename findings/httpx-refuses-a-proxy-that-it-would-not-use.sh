#!/usr/bin/env bash
# Software:  httpx 0.28.1, httpcore 1.0.9, Python 3.11
# Surprise:  A proxy that no request of a client would go through keeps the client from being made.
#
# When a client is made, httpx builds a transport for each proxy that the environment names, and looks at NO_PROXY and
# at the scheme of a URL only when a request is sent. So on a machine with ALL_PROXY=socks5://… and NO_PROXY=localhost,
# a program that only ever talks to localhost ends with an ImportError unless the package socksio is installed. With an
# HTTPS_PROXY of a scheme that httpx does not know, a client of an http:// server ends with a ValueError. Neither
# message names the variable, so whoever reads the log does not think of the environment.
#
# One would expect what urllib and curl do: a proxy is looked at by the request that needs it. Make the client with
# trust_env=False, look up the proxy for the one server with urllib.request.getproxies and proxy_bypass, and hand it over.
#
# Output seen (a GET of a server on localhost):
#   NO_PROXY=localhost: urllib 200, httpx 200
#   NO_PROXY=localhost ALL_PROXY=socks5://127.0.0.1:9: urllib 200, httpx ImportError, no variable named
#   NO_PROXY=localhost HTTPS_PROXY=gopher://127.0.0.1:9: urllib 200, httpx ValueError, no variable named
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 httpcore==1.0.9

cat >try.py <<'PY'
import http.server
import threading
import urllib.request

import httpx


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://localhost:{server.server_port}/"
told = f"urllib {urllib.request.urlopen(url).status}, httpx "
try:
    told += str(httpx.Client().get(url).status_code)
except (ImportError, ValueError) as error:
    told += f"{type(error).__name__}, {'the' if 'PROXY' in str(error) else 'no'} variable named"
print(told)
PY

unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY
for more in "" " ALL_PROXY=socks5://127.0.0.1:9" " HTTPS_PROXY=gopher://127.0.0.1:9"; do
    # shellcheck disable=SC2086
    echo "NO_PROXY=localhost$more: $(timeout 60 env NO_PROXY=localhost $more venv/bin/python try.py)"
done >seen
cat seen
diff seen - <<'SEEN'
NO_PROXY=localhost: urllib 200, httpx 200
NO_PROXY=localhost ALL_PROXY=socks5://127.0.0.1:9: urllib 200, httpx ImportError, no variable named
NO_PROXY=localhost HTTPS_PROXY=gopher://127.0.0.1:9: urllib 200, httpx ValueError, no variable named
SEEN
