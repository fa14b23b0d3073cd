#!/bin/bash
# openai 3.57.0: a Retry-After above 120 seconds means no retry at all, even beside `x-should-retry: true`; up to it the client waits as told.
# A server that names a long time gets no second request, only an error for its client's caller.
# Run it by hand: it needs python3 and a package registry. Exits 1 when the behaviour is another one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error TMPDIR="$work"
"$work/venv/bin/python" - <<'EOF'
import http.server
import sys
import threading
import time

import openai

print("openai", openai.__version__)


def judge(holds, sentence):
    print(("as found: " if holds else "CHANGED, no longer so: ") + sentence)
    sys.exit(0 if holds else 1)


def server_of(answer):
    """A server on 127.0.0.1 whose POST requests are answered by `answer(handler)`; its URL."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = answer()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/v1"


requests, retry_after = [], ["1"]


def busy():
    requests.append(time.monotonic())
    headers = {"Retry-After": retry_after[0], "x-should-retry": "true", "Content-Type": "application/json"}
    return 503, headers, b'{"error": {"message": "busy"}}'


client = openai.OpenAI(base_url=server_of(busy), api_key="none", max_retries=1)
seen = {}
for seconds in ("1", "121", "3600"):
    requests.clear()
    retry_after[0] = seconds
    try:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    except openai.APIStatusError as error:
        seen[seconds] = len(requests)
        print(f"Retry-After: {seconds} -> {len(requests)} request(s), then {type(error).__name__}")
judge(seen == {"1": 2, "121": 1, "3600": 1}, "retried after one second, not for 121 and 3600")
EOF
