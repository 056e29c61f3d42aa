#!/usr/bin/env python3
"""A cluster in memory: a router, its metrics, and a chat, for trying the pack.

    cluster.py PORT TOKEN

A version whose name ends in `bad` fails one request of five. It prints each change of the traffic and each word in the chat.
"""
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

LOCK = Lock()
APPS = {"shop": {"stable": "v1", "canary": None}}


def split(app, version, share):
    """Sets the share of a version: all of it makes it the stable one, none ends the canary."""
    if share == 100:
        app["stable"], app["canary"] = version, None
    elif app["stable"] == version and app.get("was"):
        app["stable"], app["canary"] = app["was"], {"version": version, "share": share} if share else None
    else:
        app["was"], app["canary"] = app["stable"], {"version": version, "share": share} if share else None


def measured(query):
    """Returns a number as Prometheus does: a list, which is empty if there is none."""
    name, version = re.search('app="([^"]*)"', query)[1], re.search('version="([^"]*)"', query)[1]
    app = APPS.get(name, {"canary": None, "stable": None})
    share = app["canary"]["share"] if (app["canary"] or {}).get("version") == version else 100 if app["stable"] == version else 0
    rate = share * (0.2 if version.endswith("bad") else 0.001) if "5.." in query else share
    return [{"metric": {}, "value": [0, str(rate)]}] if share else []


class Cluster(BaseHTTPRequestHandler):
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
        if url.path == "/chat":
            with LOCK:
                print(f"chat: {sent['text']}", flush=True)
            return self.answer(200, {})
        with LOCK:
            if url.path == "/api/v1/query":
                return self.answer(200, {"status": "success", "data": {"resultType": "vector", "result": measured(parse_qs(url.query)["query"][0])}})
            match = re.fullmatch("/apps/([^/]+)/traffic", url.path)
            app = match and APPS.get(match[1])
            if not app:
                return self.answer(404, {"error": f"{url.path} is not there"})
            if self.headers.get("authorization") != f"Bearer {sys.argv[2]}":
                return self.answer(401, {"error": "who are you?"})
            if self.command == "PUT":
                split(app, sent["version"], sent["share"])
                print(f"{match[1]}: {json.dumps({key: app[key] for key in ('stable', 'canary')})}", flush=True)
            return self.answer(200, {"stable": app["stable"], "canary": app["canary"]})

    do_GET = do_PUT = do_POST = handle_one

    def log_message(self, *_):
        """Prints nothing for reads."""


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: cluster.py PORT TOKEN")
    SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Cluster)
    print(f"cluster.py listens on http://127.0.0.1:{SERVER.server_port}", flush=True)
    try:
        SERVER.serve_forever()
    except KeyboardInterrupt:
        pass
