#!/usr/bin/env bash
# Software:  opentelemetry-sdk 1.45.2 for Python; @opentelemetry/sdk-node 0.223.0 for JavaScript
# Surprise:  With the same resource in the code, OTEL_SERVICE_NAME counts for nothing in Python and wins in JavaScript.
#
# A program gives its resource a service.name. Where it runs, OTEL_SERVICE_NAME gives another one, to tell two
# deployments apart. In Python, what the code says wins, and there is no warning that the variable is ignored. A
# comment in its source says that this variable is merged last, but this is true only among the detectors, before the
# attributes of the code. In JavaScript, NodeSDK merges the variable over the `resource` that the code gives. If the
# code gives the same name as `serviceName` instead, the code wins again. OTEL_RESOURCE_ATTRIBUTES does likewise, for
# all attributes.
#
# One would expect that the SDKs of one project rank the same variable in the same way, and that the environment is
# there to override the code. In Python, give the name from the code only if neither variable has one.
#
# Output seen (the code says "code", OTEL_SERVICE_NAME says "environment"):
#   Python, Resource.create({"service.name": ...}): code
#   JavaScript, resource with service.name: environment
#   JavaScript, serviceName: code
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >npm.log
npm install --silent --no-fund --no-audit @opentelemetry/sdk-node@0.223.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check opentelemetry-sdk==1.45.2

cat >try.py <<'PY'
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider(resource=Resource.create({"service.name": "code"}))
provider.add_span_processor(SimpleSpanProcessor(exporter))
with provider.get_tracer("try").start_as_current_span("work"):
    pass
(span,) = exporter.get_finished_spans()
print('Python, Resource.create({"service.name": ...}):', span.resource.attributes["service.name"])
PY

cat >try.mjs <<'JS'
import { api, NodeSDK, resources, tracing } from "@opentelemetry/sdk-node";

async function attempt(name, options) {
  const exporter = new tracing.InMemorySpanExporter();
  const sdk = new NodeSDK({ ...options, spanProcessors: [new tracing.SimpleSpanProcessor(exporter)] });
  sdk.start();
  const span = api.trace.getTracer("try").startSpan("work");
  span.end();
  await span.resource.waitForAsyncAttributes?.();
  console.log(`JavaScript, ${name}: ${span.resource.attributes["service.name"]}`);
  await sdk.shutdown();
  api.trace.disable();
}

const resource = resources.resourceFromAttributes({ "service.name": "code" });
await attempt("resource with service.name", { resource });
await attempt("serviceName", { serviceName: "code" });
JS

export OTEL_SERVICE_NAME=environment OTEL_METRICS_EXPORTER=none OTEL_LOGS_EXPORTER=none
unset OTEL_RESOURCE_ATTRIBUTES
timeout 60 venv/bin/python try.py >seen
timeout 60 node try.mjs >>seen
cat seen
diff seen - <<'SEEN'
Python, Resource.create({"service.name": ...}): code
JavaScript, resource with service.name: environment
JavaScript, serviceName: code
SEEN
