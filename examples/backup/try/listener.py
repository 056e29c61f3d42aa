#!/usr/bin/env python3
"""Accepts and prints every request, for trying the pack without a chat.

    listener.py PORT
"""
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Listener(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    def take(self):
        sent = self.rfile.read(int(self.headers.get("content-length") or 0)).decode("utf-8", "replace")
        # In one piece, although requests are answered concurrently.
        print(f"{self.command} {self.path} {sent}\n", end="", flush=True)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = take

    def log_message(self, *_):
        """Prints nothing else."""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: listener.py PORT")
    SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Listener)
    print(f"listener.py listens on http://127.0.0.1:{SERVER.server_port}", flush=True)
    try:
        SERVER.serve_forever()
    except KeyboardInterrupt:
        pass
