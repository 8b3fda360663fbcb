#!/usr/bin/env bash
# Software:  pywebpush 2.5.0 with py-vapid 1.9.6 in Python, web-push 3.6.7 in JavaScript
# Surprise:  All pushes are signed for the push service of the person who was pushed first.
#
# A push is signed for the push service of the person's browser: the claim `aud` of the token is the origin of this
# service. The application gives claims of its own, usually a constant with a `sub`, and pywebpush adds the missing ones
# to the same dict. The next push finds an `aud` in the dict and keeps it. So pushes reach the people whose browsers use
# the same service as the first person's. The other services refuse the token, since its `aud` has to be their own
# origin (RFC 8292, 2). Who is left out changes with each start of the process.
#
# One would expect that a library that fills in a claim for a call does so for each call, as web-push does.
# `vapid_claims=dict(CLAIMS)` helps.
#
# Output seen (FIRST and SECOND are the origins of two push services):
#   web-push: pushed to FIRST, signed for FIRST
#   web-push: pushed to SECOND, signed for SECOND
#   pywebpush: pushed to FIRST, signed for FIRST
#   pywebpush: pushed to SECOND, signed for FIRST
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit web-push@3.6.7
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check pywebpush==2.5.0 py-vapid==1.9.6

cat >try.mjs <<'JS'
import { createECDH, randomBytes } from "node:crypto";
import webpush from "web-push";

const key = createECDH("prime256v1");
const keys = { p256dh: key.generateKeys("base64url"), auth: randomBytes(16).toString("base64url") };
webpush.setVapidDetails("mailto:push@example.com", ...Object.values(webpush.generateVAPIDKeys()));
for (const service of ["first", "second"]) {
  const subscription = { endpoint: `https://${service}.example/subscription`, keys };
  const { headers } = webpush.generateRequestDetails(subscription, "hello");
  const claims = headers.Authorization.match(/t=[^.]+\.([^.]+)/)[1];
  const { aud } = JSON.parse(Buffer.from(claims, "base64url"));
  console.log(`web-push: pushed to https://${service}.example, signed for ${aud}`);
}
JS

cat >try.py <<'PY'
import base64
import json
import os
import re

import requests
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02
from pywebpush import webpush

CLAIMS = {"sub": "mailto:push@example.com"}


def text(key):
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


class Session:
    """Stands in for a requests.Session, and answers as a push service does."""

    def post(self, endpoint, headers, **rest):
        claims = re.search(r"t=[^.]+\.([^.]+)", headers["authorization"])[1]
        audience = json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"]
        print(f"pywebpush: pushed to {endpoint.removesuffix('/subscription')}, signed for {audience}")
        response = requests.Response()
        response.status_code = 201
        return response


public = generate_private_key(SECP256R1()).public_key()
keys = {
    "p256dh": text(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)),
    "auth": text(os.urandom(16)),
}
vapid = Vapid02()
vapid.generate_keys()
for service in ("first", "second"):
    subscription = {"endpoint": f"https://{service}.example/subscription", "keys": keys}
    webpush(subscription, "hello", vapid_private_key=vapid, vapid_claims=CLAIMS, requests_session=Session())
PY

timeout 60 node try.mjs >seen
timeout 60 venv/bin/python try.py >>seen
sed -i 's|https://first.example|FIRST|g; s|https://second.example|SECOND|g' seen
cat seen
diff seen - <<'SEEN'
web-push: pushed to FIRST, signed for FIRST
web-push: pushed to SECOND, signed for SECOND
pywebpush: pushed to FIRST, signed for FIRST
pywebpush: pushed to SECOND, signed for FIRST
SEEN
