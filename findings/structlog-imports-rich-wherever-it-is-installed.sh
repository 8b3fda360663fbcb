#!/usr/bin/env bash
# Software:  structlog 26.1.0, rich 15.0.0, Python 3.11
# Surprise:  A service that logs JSON loads the terminal library rich, if any other package has brought it along.
#
# structlog's console renderer prints tracebacks with rich, if it is there. This is decided when structlog is imported
# and not when such a renderer is made: `import structlog` imports rich.traceback, and Pygments with it. No option of
# structlog turns this off. So a server that writes only JSON pays for it in each of its processes as soon as a command
# line tool such as typer stands in the same environment, and a lock file that gains one package changes the memory of
# all workers. Seen here: 84 modules and 5 MB more, and about twice the time of import (65 and 120 ms).
#
# One would expect that what is optional costs something only where it is used. Install nothing that depends on rich
# into the image of the service, and look at `sys.modules` in a test if this matters.
#
# Output seen (`import structlog`, configured for JSON, and one line logged; "more" is more than without rich):
#   without rich: rich.traceback is not loaded
#   with rich: rich.traceback is loaded, over 50 modules more, over 3 MB more
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
pip=(venv/bin/pip install --quiet --disable-pip-version-check)
"${pip[@]}" structlog==26.1.0

cat >try.py <<'PY'
import io
import resource
import sys
import time


def memory():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize()


before = memory()
began = time.perf_counter()
import structlog  # noqa: E402

took = time.perf_counter() - began
log = io.StringIO()
processors = [structlog.processors.JSONRenderer()]
structlog.configure(processors=processors, logger_factory=structlog.WriteLoggerFactory(log))
structlog.get_logger().info("started")
assert log.getvalue() == '{"event": "started"}\n'
loaded = "rich.traceback" in sys.modules
print(loaded, len(sys.modules), memory() - before, round(took * 1000))
PY

# Modules are compiled at the first run, which takes memory of its own.
measure() {
    timeout 60 venv/bin/python try.py >"$1"
    timeout 60 venv/bin/python try.py >"$1"
}
measure without
read -r loaded modules bytes took <without
[[ $loaded == False ]]
echo "without rich: rich.traceback is not loaded" >seen
"${pip[@]}" rich==15.0.0
measure with
read -r loaded_now modules_now bytes_now took_now <with
[[ $loaded_now == True ]]
((modules_now - modules > 50 && bytes_now - bytes > 3000000))
echo "with rich: rich.traceback is loaded, over 50 modules more, over 3 MB more" >>seen
cat seen
echo "(here: $((modules_now - modules)) modules, $((bytes_now - bytes)) bytes more; $took and $took_now ms)"
diff seen - <<'SEEN'
without rich: rich.traceback is not loaded
with rich: rich.traceback is loaded, over 50 modules more, over 3 MB more
SEEN
