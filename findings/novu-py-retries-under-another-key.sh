#!/usr/bin/env bash
# Software:  novu-py 3.19.0 and @novu/api 3.19.1, the Python and the JavaScript client of Novu's API
# Surprise:  When novu-py repeats a request by itself, each try has another Idempotency-Key.
#
# Both clients repeat a request that was answered with a 5xx, and both make an Idempotency-Key if the caller gives none.
# The JavaScript client makes one key for a call. The Python client makes a new key for every try. If a server has
# stored the event and then failed to say so, it takes each repeat for a new event, and the person is notified again. A
# key that the caller gives (`idempotency_key=`) is the same in all tries.
#
# One would expect that a client that both makes a key and repeats the request sends the same key again, since keys are
# made for repeats.
#
# Output seen (from a server that answers the first two tries with 500):
#   javascript: 3 requests, 1 key
#   python: 3 requests, 3 keys
#   python with idempotency_key: 3 requests, 1 key
set -euo pipefail

folder=$(mktemp -d)
server=
trap 'if [[ $server ]]; then kill "$server" || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit @novu/api@3.19.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check novu-py==3.19.0

cat >server.mjs <<'JS'
import { createServer } from "node:http";

let keys = [];
const server = createServer((request, response) => {
  request.resume().on("end", () => {
    if (request.url === "/seen") {
      response.end(`${keys.length} requests, ${new Set(keys).size} key${new Set(keys).size > 1 ? "s" : ""}`);
      keys = [];
      return;
    }
    keys.push(request.headers["idempotency-key"]);
    response.writeHead(keys.length < 3 ? 500 : 201, { "content-type": "application/json" });
    response.end(JSON.stringify({ data: { acknowledged: true, status: "processed" } }));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
JS

cat >client.mjs <<'JS'
import { Novu } from "@novu/api";

const url = process.argv[2];
const novu = new Novu({ secretKey: "secret", serverURL: url });
await novu.trigger({ workflowId: "job-assigned", to: "mali", payload: {} });
console.log("javascript:", await (await fetch(`${url}/seen`)).text());
JS

cat >client.py <<'PY'
import sys
from urllib.request import urlopen

from novu_py import Novu, TriggerEventRequestDto

url = sys.argv[1]
event = TriggerEventRequestDto(workflow_id="job-assigned", to="mali", payload={})
with Novu(secret_key="secret", server_url=url) as novu:
    novu.trigger(trigger_event_request_dto=event)
    print("python:", urlopen(f"{url}/seen").read().decode())
    novu.trigger(trigger_event_request_dto=event, idempotency_key="job-7-assigned")
    print("python with idempotency_key:", urlopen(f"{url}/seen").read().decode())
PY

coproc node server.mjs
server=$COPROC_PID
read -r port <&"${COPROC[0]}"
timeout 60 node client.mjs "http://127.0.0.1:$port" >seen
timeout 60 venv/bin/python client.py "http://127.0.0.1:$port" >>seen
cat seen
diff seen - <<'SEEN'
javascript: 3 requests, 1 key
python: 3 requests, 3 keys
python with idempotency_key: 3 requests, 1 key
SEEN
