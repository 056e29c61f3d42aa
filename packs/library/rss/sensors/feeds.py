"""Reads feeds and prints their new entries, in the protocol of Ensue's `process` sensors.

The cursor holds, for each feed, the hashes of the entries that it has or had lately. It is printed with each entry, so
that an entry is an event once, however the node ends.
"""

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as xml
from xml.parsers import expat

FEED_BYTES_MAX = 10 << 20
# The entries of all feeds that are remembered. The log keeps a cursor of 256 KiB.
REMEMBERED_MAX = 8000
SUMMARY_CHARS_MAX = 4000
TIMEOUT_SECONDS = 30
ATOM = "{http://www.w3.org/2005/Atom}"
DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
RSS_1 = "{http://purl.org/rss/1.0/}"


class Unreadable(Exception):
    """A feed that cannot be read, with the reason for people."""


def parsed(data):
    """Returns the title and the entries of a feed, newest last."""
    root = tree(data)
    if root.tag == ATOM + "feed":
        return text(root, ATOM + "title"), [atom_entry(entry) for entry in reversed(root.findall(ATOM + "entry"))]
    if root.tag == "rss":
        channel = root.find("channel")
        if channel is None:
            raise Unreadable("it is RSS without a channel")
        return text(channel, "title"), [rss_entry(item, "") for item in reversed(channel.findall("item"))]
    if root.tag.endswith("}RDF"):
        channel = root.find(RSS_1 + "channel")
        title = "" if channel is None else text(channel, RSS_1 + "title")
        return title, [rss_entry(item, RSS_1) for item in reversed(root.findall(RSS_1 + "item"))]
    raise Unreadable("it is neither RSS nor Atom: its root is <%s>" % root.tag)


def tree(data):
    """Parses XML without entities of its own: a few bytes of them can become gigabytes."""
    def refuse(*_):
        raise Unreadable("it declares entities, which no feed needs")

    try:
        first = expat.ParserCreate()
        first.EntityDeclHandler = refuse
        first.Parse(data, True)
        return xml.fromstring(data)
    except (xml.ParseError, expat.ExpatError, LookupError, ValueError) as error:
        raise Unreadable("it is not XML: %s" % error)


def rss_entry(item, namespace):
    guid = text(item, namespace + "guid") or item.get("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}about") or ""
    link = text(item, namespace + "link")
    if not link and item.find("guid") is not None and item.find("guid").get("isPermaLink", "true") == "true":
        link = guid
    title, summary = text(item, namespace + "title"), text(item, namespace + "description")
    return {
        "id": guid or link or digest(title + "\n" + summary),
        "title": title,
        "link": link,
        "published": text(item, "pubDate") or text(item, DUBLIN_CORE + "date"),
        "summary": summary[:SUMMARY_CHARS_MAX],
        "author": text(item, "author") or text(item, DUBLIN_CORE + "creator"),
    }


def atom_entry(entry):
    links = entry.findall(ATOM + "link")
    link = next((link.get("href", "") for link in links if link.get("rel", "alternate") == "alternate"), "")
    author = entry.find(ATOM + "author")
    title, summary = text(entry, ATOM + "title"), text(entry, ATOM + "summary") or text(entry, ATOM + "content")
    return {
        "id": text(entry, ATOM + "id") or link or digest(title + "\n" + summary),
        "title": title,
        "link": link,
        "published": text(entry, ATOM + "published") or text(entry, ATOM + "updated"),
        "summary": summary[:SUMMARY_CHARS_MAX],
        "author": "" if author is None else text(author, ATOM + "name"),
    }


def text(element, name):
    found = element.find(name)
    return "" if found is None else "".join(found.itertext()).strip()


def digest(value):
    return hashlib.sha256(value.encode()).hexdigest()[:16]


class Feeds:
    """The feeds, what is known of them, and what they answered last."""

    def __init__(self, first, write):
        given = first.get("input") or {}
        self.feeds = given.get("feeds", [])
        self.emits_first = given.get("first") == "emit"
        self.write = write
        self.seen = {}
        # An entry that left its feed is remembered as long as there is room, because feeds reorder their entries.
        for feed, hashes in ((first.get("cursor") or {}).get("seen") or {}).items():
            if feed in self.feeds:
                self.seen[feed] = dict.fromkeys(hashes)
        self.validators = {}

    def read(self, feed):
        """Reads a feed once, and prints its new entries."""
        try:
            data = self.fetched(feed)
            if data is None:
                return
            title, entries = parsed(data)
        except Unreadable as error:
            self.write({"log": "%s: %s" % (feed, error)})
            return
        is_first = feed not in self.seen
        seen = self.seen.setdefault(feed, {})
        new = []
        for entry in entries:
            mark = digest(entry["id"])
            if mark in seen:
                seen[mark] = seen.pop(mark)
                continue
            seen[mark] = None
            new.append((mark, entry))
        self.forget(feed)
        if is_first and not self.emits_first:
            # No rule of `emits` fits this line, but its cursor is kept: what comes while the sensor is off is new.
            self.write({"event": {"read": feed}, "cursor": {"seen": self.listed()}})
            return
        for mark, _ in new:
            seen.pop(mark, None)
        for mark, entry in new:
            seen[mark] = None
            self.write({"event": {"feed": feed, "feed_title": title, **entry}, "cursor": {"seen": self.listed()}})

    def listed(self):
        return {feed: list(marks) for feed, marks in self.seen.items()}

    def forget(self, feed):
        share = max(100, REMEMBERED_MAX // max(1, len(self.feeds)))
        seen = self.seen[feed]
        while len(seen) > share:
            seen.pop(next(iter(seen)))

    def fetched(self, feed):
        """Returns the bytes of a feed, or None if it did not change."""
        if not feed.startswith(("http://", "https://")):
            raise Unreadable("it is not an http or https address")
        headers = {"User-Agent": "ensue-rss/0.1", "Accept": "application/atom+xml, application/rss+xml, application/xml, text/xml"}
        headers.update(self.validators.get(feed, {}))
        try:
            with urllib.request.urlopen(urllib.request.Request(feed, headers=headers), timeout=TIMEOUT_SECONDS) as answer:
                data = answer.read(FEED_BYTES_MAX + 1)
                known = {"If-None-Match": answer.headers.get("ETag"), "If-Modified-Since": answer.headers.get("Last-Modified")}
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return None
            raise Unreadable("the server answered %d" % error.code)
        except (OSError, ValueError) as error:
            raise Unreadable("it cannot be read: %s" % (getattr(error, "reason", None) or error))
        if len(data) > FEED_BYTES_MAX:
            raise Unreadable("it has more than %d bytes" % FEED_BYTES_MAX)
        self.validators[feed] = {name: value for name, value in known.items() if value}
        return data


def write(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main():
    first = json.loads(sys.stdin.readline() or "{}")
    feeds = Feeds(first, write)
    every = max(30, int((first.get("input") or {}).get("every", 600)))
    if not feeds.feeds:
        write({"log": "the setting `feeds` is empty: there is nothing to read"})
    while True:
        for feed in feeds.feeds:
            feeds.read(feed)
        time.sleep(every)


if __name__ == "__main__":
    main()
