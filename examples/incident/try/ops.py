#!/usr/bin/env python3
"""Services that can be asked how they are and be restarted, a chat, and a place for reports, for trying the pack.

    ops.py PORT TOKEN

It prints each restart, each word in the chat and each report. A restart under an `Idempotency-Key` that it knows is done once.
"""
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import urlsplit

LOCK = Lock()
RESTARTED = {}


class Ops(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_one(self):
        sent = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"null")
        path = urlsplit(self.path).path
        if path == "/chat":
            with LOCK:
                print(f"chat: {sent['text']}", flush=True)
            return self.answer(200, {})
        if path == "/reports":
            with LOCK:
                print(f"report: {json.dumps(sent)}", flush=True)
            return self.answer(200, {})
        match = re.fullmatch("/services/([a-z0-9-]+)/(status|changes|restart)", path)
        if not match:
            return self.answer(404, {"error": f"{path} is not there"})
        if self.headers.get("authorization") != f"Bearer {sys.argv[2]}":
            return self.answer(401, {"error": "who are you?"})
        service, what = match[1], match[2]
        if what == "status":
            return self.answer(200, {"healthy": False, "instances": 3})
        if what == "changes":
            return self.answer(200, [{"version": "v2", "by": "ada"}])
        with LOCK:
            keys = RESTARTED.setdefault(service, set())
            if self.headers.get("idempotency-key") not in keys:
                keys.add(self.headers.get("idempotency-key"))
                print(f"restarted {service}", flush=True)
        return self.answer(200, {})

    do_GET = do_POST = handle_one

    def log_message(self, *_):
        """Prints nothing for reads."""


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: ops.py PORT TOKEN")
    SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Ops)
    print(f"ops.py listens on http://127.0.0.1:{SERVER.server_port}", flush=True)
    try:
        SERVER.serve_forever()
    except KeyboardInterrupt:
        pass
