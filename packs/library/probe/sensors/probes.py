"""Checks addresses regularly and prints what changed, in the protocol of Ensue's `process` sensors.

The cursor holds the state of each target that is not simply up, so that a restart reports nothing twice.
"""

import calendar
import concurrent.futures
import json
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TARGETS_MAX = 500
WORKERS = 16
DAY = 86400


class Failed(Exception):
    """A failed check, with the reason for people."""


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect as the answer: where it leads is another target."""

    def redirect_request(self, *_):
        return None


def check(target, timeout):
    """Checks a target, and returns when its certificate expires, in seconds, or None if it has none."""
    parts = urllib.parse.urlsplit(target)
    try:
        if parts.scheme in ("http", "https"):
            expires = certificate(parts.hostname, parts.port or 443, timeout) if parts.scheme == "https" else None
            answer(target, timeout)
            return expires
        if parts.scheme == "tls":
            return certificate(parts.hostname, parts.port, timeout)
        with socket.create_connection((parts.hostname, parts.port), timeout):
            return None
    except ssl.SSLCertVerificationError as error:
        raise Failed("its certificate is not valid: %s" % error.verify_message)
    except (OSError, ValueError) as error:
        raise Failed(str(getattr(error, "reason", None) or error) or type(error).__name__)


def answer(url, timeout):
    opener = urllib.request.build_opener(NoRedirects)
    try:
        with opener.open(urllib.request.Request(url, headers={"User-Agent": "ensue-probe/0.1"}), timeout=timeout) as given:
            given.read(1)
    except urllib.error.HTTPError as error:
        if error.code >= 400:
            raise Failed("it answered %d" % error.code)


def certificate(host, port, timeout):
    context = ssl.create_default_context()
    with socket.create_connection((host, port), timeout) as plain:
        with context.wrap_socket(plain, server_hostname=host) as encrypted:
            return calendar.timegm(time.strptime(encrypted.getpeercert()["notAfter"], "%b %d %H:%M:%S %Y %Z"))


def problem(target):
    """Returns what is wrong with a target as it is written, or None."""
    try:
        parts = urllib.parse.urlsplit(target)
        if parts.scheme not in ("http", "https", "tcp", "tls"):
            return "it begins with none of http://, https://, tcp:// and tls://"
        if not parts.hostname:
            return "it names no host"
        if parts.scheme in ("tcp", "tls") and not parts.port:
            return "it names no port"
    except ValueError as error:
        return str(error)
    return None


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Probes:
    """The targets, their states, and what is printed about them."""

    def __init__(self, first, write, check=check, now=time.time):
        given = first.get("input") or {}
        self.write, self.check, self.now = write, check, now
        self.failures = max(1, int(given.get("failures", 3)))
        self.timeout = max(1, int(given.get("timeout", 10)))
        self.days = int(given.get("days", 14))
        self.targets = []
        for target in given.get("targets", [])[:TARGETS_MAX]:
            wrong = problem(target)
            if wrong:
                write({"log": "%s is not checked: %s" % (target, wrong)})
            elif target not in self.targets:
                self.targets.append(target)
        if len(given.get("targets", [])) > TARGETS_MAX:
            write({"log": "only the first %d targets are checked" % TARGETS_MAX})
        kept = (first.get("cursor") or {}).get("states", {})
        self.states = {target: dict(kept[target]) for target in self.targets if target in kept}

    def round(self):
        """Checks all targets once."""
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            for target, (error, expires) in zip(self.targets, pool.map(self.checked, self.targets)):
                self.take(target, error, expires)

    def checked(self, target):
        try:
            return None, self.check(target, self.timeout)
        except Failed as failed:
            return str(failed), None

    def take(self, target, error, expires):
        state = self.states.setdefault(target, {})
        now = int(self.now())
        if error is None:
            since = state.pop("down_since", None)
            state.pop("failed", None), state.pop("first_failed", None)
            if since is not None:
                self.tell({"kind": "up", "target": target, "since": moment(since), "seconds": now - since})
            if expires is not None:
                self.take_expiry(target, state, expires, now)
        elif "down_since" not in state:
            state["failed"] = state.get("failed", 0) + 1
            state.setdefault("first_failed", now)
            if state["failed"] >= self.failures:
                state["down_since"] = state.pop("first_failed")
                del state["failed"]
                self.tell({"kind": "down", "target": target, "error": error[:500], "since": moment(state["down_since"])})
        if not state:
            del self.states[target]

    def take_expiry(self, target, state, expires, now):
        days = (expires - now) // DAY
        if days >= self.days:
            state.pop("warned_of", None)
        elif state.get("warned_of") != expires:
            state["warned_of"] = expires
            self.tell({"kind": "certificate_expiring", "target": target, "expires": moment(expires), "days": days})

    def tell(self, event):
        self.write({"event": event, "cursor": {"states": {target: state for target, state in self.states.items() if state}}})


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main():
    first = json.loads(sys.stdin.readline() or "{}")
    probes = Probes(first, write)
    every = max(5, int((first.get("input") or {}).get("every", 60)))
    if not probes.targets:
        write({"log": "the setting `targets` has nothing to check"})
    while True:
        began = time.monotonic()
        probes.round()
        time.sleep(max(1, every - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
