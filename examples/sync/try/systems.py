#!/usr/bin/env python3
"""A system with changes, and a system that receives them, both in memory, for trying the pack.

    systems.py PORT TOKEN [CHANGES]

It serves both, so `source` and `target` are the same address. The target rejects the item `poison`. It prints each item that it
receives and each cursor that it stores. `POST /outage {"requests": 3}` makes the target fail three times.
"""
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

LOCK = Lock()
CHANGES, ITEMS, STATE = [], {}, {"cursor": "", "outage": 0}


def change(number):
    """Returns a change: usually of a new item, once of `poison`, and once the removal of an item."""
    if number == 13:
        return {"id": "poison", "name": ""}
    if number == 17:
        return {"id": "item-3", "deleted": True}
    return {"id": f"item-{number}", "name": f"The {number}th thing"}


class Systems(BaseHTTPRequestHandler):
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
        url = urlsplit(self.path)
        if url.path != "/outage" and self.headers.get("authorization") != f"Bearer {sys.argv[2]}":
            return self.answer(401, {"error": "who are you?"})
        with LOCK:
            status, document, said = act(self.command, url.path, parse_qs(url.query), sent)
            # Print each line at once, although requests are answered concurrently.
            if said:
                print(said, flush=True)
        return self.answer(status, document)

    do_GET = do_PUT = do_DELETE = do_POST = handle_one

    def log_message(self, *_):
        """Prints nothing for reads."""


def act(method, path, query, sent):
    """Returns the status, the document, and the line to print."""
    if path == "/outage":
        STATE["outage"] = sent["requests"]
        return 200, {}, None
    if path == "/changes":
        begin, limit = int(query.get("after", ["0"])[0] or 0), int(query.get("limit", ["100"])[0])
        page = CHANGES[begin:begin + limit]
        return 200, {"items": page, "cursor": str(begin + len(page)), "more": begin + len(page) < len(CHANGES)}, None
    if STATE["outage"] > 0:
        STATE["outage"] -= 1
        return 503, {"error": "not now"}, None
    if path == "/cursor" and method == "GET":
        return 200, {"cursor": STATE["cursor"]}, None
    if path == "/cursor" and method == "PUT":
        if STATE["cursor"] not in (sent["before"], sent["cursor"]):
            return 409, {"error": f"the cursor is at {STATE['cursor']}, somebody else has moved it"}, None
        STATE["cursor"] = sent["cursor"]
        return 200, {}, f"cursor {sent['cursor']}"
    if match := re.fullmatch("/items/([A-Za-z0-9_-]+)", path):
        if method == "DELETE":
            ITEMS.pop(match[1], None)
            return 200, {}, f"gone {match[1]}"
        if not sent.get("name"):
            return 422, {"error": "an item has a name"}, None
        ITEMS[match[1]] = sent
        return 200, {}, f"put {match[1]}"
    if path == "/items":
        return 200, {"items": sorted(ITEMS)}, None
    return 404, {"error": f"{path} is not there"}, None


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit("usage: systems.py PORT TOKEN [CHANGES]")
    CHANGES.extend(change(number) for number in range(int(sys.argv[3]) if len(sys.argv) == 4 else 45))
    SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Systems)
    print(f"systems.py listens on http://127.0.0.1:{SERVER.server_port}", flush=True)
    try:
        SERVER.serve_forever()
    except KeyboardInterrupt:
        pass
