#!/bin/bash
# openai 3.57.0: the helper chat.completions.stream() raises LengthFinishReasonError when an answer ends by length, also for plain text without
# a response format; create(stream=True) gives the same answer without an error.
# Run it by hand: it needs python3 and a package registry. Exits 1 when the behaviour is another one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check openai==3.57.0
export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error TMPDIR="$work"
"$work/venv/bin/python" - <<'EOF'
import http.server
import json
import sys
import threading

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


def answer():
    def event(delta, finish):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    events = [event({"role": "assistant", "content": "Hel"}, None), event({"content": "lo"}, None), event({}, "length")]
    text = "".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n"
    return 200, {"Content-Type": "text/event-stream"}, text.encode()


client = openai.OpenAI(base_url=server_of(answer), api_key="none", max_retries=0)
messages = [{"role": "user", "content": "hello"}]
plain = "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(model="m", messages=messages, stream=True))
print("create(stream=True) ->", repr(plain))
raised = "nothing"
try:
    with client.chat.completions.stream(model="m", messages=messages) as stream:
        for _ in stream:
            pass
        stream.get_final_completion()
except openai.LengthFinishReasonError as error:
    raised = type(error).__name__
print("stream() raises", raised)
judge(plain == "Hello" and raised == "LengthFinishReasonError", "the helper raises where the plain stream ends in order")
EOF
