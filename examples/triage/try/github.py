#!/usr/bin/env python3
"""As much of GitHub's REST API as the pack uses, in memory: issues with labels and comments, for trying the pack without GitHub.

    github.py PORT TOKEN

It prints each change, and answers 401 to whoever does not bring the token, as GitHub does.
"""
import json
import re
import sys
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, unquote, urlsplit

LOCK = Lock()
NOW = datetime.now(timezone.utc)


def issue(number, title, author, days, labels=()):
    """Returns an open issue that was updated this many days ago."""
    touched = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"number": number, "title": title, "body": None, "state": "open", "user": {"login": author}, "updated_at": touched,
            "labels": [{"name": label} for label in labels], "comments": []}


ISSUES = {each["number"]: each for each in [
    issue(1, "It rattles", "ada", 90),
    issue(2, "It squeaks", "bob", 90, ["stale"]),
    issue(3, "Keys lie about", "ada", 400, ["security"]),
    issue(7, "CRASH when the wheel turns", "eve", 0),
]}


class GitHub(BaseHTTPRequestHandler):
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
        sent = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != f"Bearer {sys.argv[2]}":
            return self.answer(401, {"message": "Bad credentials"})
        url = urlsplit(self.path)
        with LOCK:
            status, document, said = act(self.command, url.path, parse_qs(url.query), json.loads(sent or b"null"))
            # Print each line at once, although requests are answered concurrently.
            if said:
                print(said, flush=True)
        return self.answer(status, document)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_one

    def log_message(self, *_):
        """Prints nothing for reads."""


def act(method, path, query, sent):
    """Returns the status, the document, and the line to print."""
    if method == "GET" and re.fullmatch("/repos/[^/]+/[^/]+/issues", path):
        found = [each for each in ISSUES.values() if query.get("creator", [each["user"]["login"]])[0] == each["user"]["login"]]
        found = [each for each in found if query.get("state", ["open"])[0] in ("all", each["state"])]
        found.sort(key=lambda each: each["updated_at"])
        size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
        return 200, found[(page - 1) * size:page * size], None
    match = re.fullmatch("/repos/[^/]+/[^/]+/issues/([0-9]+)(/labels|/comments)?(?:/([^/]+))?", path)
    known = match and ISSUES.get(int(match[1]))
    if not known:
        return 404, {"message": "Not Found"}, None
    number, part, name = known["number"], match[2], match[3] and unquote(match[3])
    if method == "POST" and part == "/labels":
        labels = {each["name"] for each in known["labels"]} | set(sent["labels"])
        known["labels"] = [{"name": label} for label in sorted(labels)]
        return touch(known), known["labels"], f"issue {number} has the labels {', '.join(sorted(labels))}"
    if method == "DELETE" and part == "/labels" and {"name": name} in known["labels"]:
        known["labels"].remove({"name": name})
        return touch(known), known["labels"], f"issue {number} has lost the label {name}"
    if method == "POST" and part == "/comments":
        known["comments"].append(sent["body"])
        touch(known)
        return 201, {"body": sent["body"]}, f"issue {number} has the comment: {sent['body']}"
    if method == "PATCH" and not part:
        known["state"] = sent["state"]
        return touch(known), known, f"issue {number} is {sent['state']}"
    return 404, {"message": "Not Found"}, None


def touch(known):
    known["updated_at"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return 200


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: github.py PORT TOKEN")
    SERVER = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), GitHub)
    print(f"github.py listens on http://127.0.0.1:{SERVER.server_port}", flush=True)
    try:
        SERVER.serve_forever()
    except KeyboardInterrupt:
        pass
