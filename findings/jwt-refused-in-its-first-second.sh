#!/usr/bin/env bash
# Software:  PyJWT 2.15.1 signs; PyJWT, joserfc 1.8.0, jsonwebtoken 9.0.3 and jose 6.2.18 verify
# Surprise:  A token whose times have a fraction is refused in the second in which it was made, and accepted in the next
#            one.
#
# A backend in Python easily writes `"iat": time.time()` and `"nbf": time.time()`, which are numbers such as
# 1795866050.2. RFC 7519, 2 allows a fraction. The verifiers below drop the fraction of their own clock and compare the
# clock with the claim as it is. So the token seems to come from the future until the next second begins. PyJWT drops
# the fraction of the claims as well, so the backend's own tests pass. A page that connects as soon as it has its token
# is refused, and it is refused more often if the network is fast. If the page tries again after a second, it is let in,
# and nobody finds a fault.
#
# One would expect that a verifier that allows a fraction compares like with like. `int(time.time())` helps, and so does
# a tolerance of a second in the verifier.
#
# Output seen:
#   PyJWT: at once accepted, a second later accepted
#   joserfc, iat: at once refused, a second later accepted
#   joserfc, nbf: at once refused, a second later accepted
#   jsonwebtoken, iat: at once accepted, a second later accepted
#   jsonwebtoken, nbf: at once refused, a second later accepted
#   jose, iat: at once accepted, a second later accepted
#   jose, iat with maxTokenAge: at once refused, a second later accepted
#   jose, nbf: at once refused, a second later accepted
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit jsonwebtoken@9.0.3 jose@6.2.18
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check PyJWT==2.15.1 joserfc==1.8.0

cat >verify.mjs <<'JS'
import { createInterface } from "node:readline";
import { jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";

const secret = process.argv[2];
const key = new TextEncoder().encode(secret);
const verifiers = {
  jsonwebtoken: (token) => jsonwebtoken.verify(token, secret),
  jose: (token) => jwtVerify(token, key),
  "jose with maxTokenAge": (token) => jwtVerify(token, key, { maxTokenAge: "1h" }),
};
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [name, token] = line.split("\t");
  try {
    await verifiers[name](token);
    console.log("accepted");
  } catch {
    console.log("refused");
  }
}
JS

cat >try.py <<'PY'
import subprocess
import time

import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey
from joserfc.jwt import JWTClaimsRegistry, decode

SECRET = "only for this script, 32 letters or more"
node = subprocess.Popen(
    ["node", "verify.mjs", SECRET], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
)
assert node.stdout.readline() == "ready\n"


def by_node(name):
    def verify(token):
        node.stdin.write(f"{name}\t{token}\n")
        return node.stdout.readline().strip()

    return verify


def by_pyjwt(token):
    jwt.decode(token, SECRET, algorithms=["HS256"])
    return "accepted"


def by_joserfc(token):
    try:
        JWTClaimsRegistry().validate(decode(token, OctKey.import_key(SECRET)).claims)
    except JoseError:
        return "refused"
    return "accepted"


def attempt(name, verify, *claims):
    verify(jwt.encode({}, SECRET))  # what is loaded at the first use is loaded now
    time.sleep((0.1 - time.time()) % 1)
    now = time.time()
    token = jwt.encode({**dict.fromkeys(claims, now), "exp": now + 60}, SECRET)
    at_once = verify(token)
    time.sleep(1)
    print(f"{name}: at once {at_once}, a second later {verify(token)}")


attempt("PyJWT", by_pyjwt, "iat", "nbf")
attempt("joserfc, iat", by_joserfc, "iat")
attempt("joserfc, nbf", by_joserfc, "nbf")
attempt("jsonwebtoken, iat", by_node("jsonwebtoken"), "iat")
attempt("jsonwebtoken, nbf", by_node("jsonwebtoken"), "nbf")
attempt("jose, iat", by_node("jose"), "iat")
attempt("jose, iat with maxTokenAge", by_node("jose with maxTokenAge"), "iat")
attempt("jose, nbf", by_node("jose"), "nbf")
node.stdin.close()
PY

timeout 60 venv/bin/python try.py | tee seen
diff seen - <<'SEEN'
PyJWT: at once accepted, a second later accepted
joserfc, iat: at once refused, a second later accepted
joserfc, nbf: at once refused, a second later accepted
jsonwebtoken, iat: at once accepted, a second later accepted
jsonwebtoken, nbf: at once refused, a second later accepted
jose, iat: at once accepted, a second later accepted
jose, iat with maxTokenAge: at once refused, a second later accepted
jose, nbf: at once refused, a second later accepted
SEEN
