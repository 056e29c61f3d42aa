"""Reads feeds and prints their new entries, in the protocol of Ensue's `process` sensors.

The cursor holds, for each feed, the marks of the entries that it has or had lately. It is printed with each entry, so
that an entry is an event once, however the node ends. It also holds which feeds are cut: they have, or had lately, more
entries than are remembered; and which feeds are uncertain: only an earlier version of this program has read them. A feed
that cannot be read is reported as a part that fails.

`documents.py` says what is in a feed.
"""

import hashlib
import http.client
import json
import sys
import time
import urllib.error
import urllib.request
import zlib

# Nothing is written into the pack.
sys.dont_write_bytecode = True
from documents import Unreadable, parse, sort  # noqa: E402

FEED_BYTES_MAX = 10 << 20
# The marks of all feeds that are remembered. The log keeps a cursor of 256 KiB.
REMEMBERED_MAX = 8000
REMEMBERED_OF_A_FEED_MIN = 20
# An earlier version of this program had that many marks of a feed, at least, if it did not read all of its entries.
MARKS_OF_A_CUT_FEED_MIN = REMEMBERED_OF_A_FEED_MIN // 2
SUMMARY_CHARS_MAX = 4000
# How zlib names the format of gzip, and how that begins.
GZIP, GZIP_MAGIC = 31, b"\x1f\x8b"
# How much is decompressed at once.
INFLATED_BYTES = 4 << 10
TIMEOUT_SECONDS = 30
# How long a whole answer may take.
ANSWER_SECONDS_MAX = 120
# The node takes names of parts of at most 1,024 bytes.
PART_BYTES_MAX = 1000
ACCEPTED = "application/atom+xml, application/rss+xml, application/feed+json, application/xml, text/xml, application/json;q=0.9, */*;q=0.1"


def digest(*values):
    return hashlib.sha256("\n".join(values).encode("utf-8", "replace")).hexdigest()[:16]


def keys_of(entry):
    """Returns what may identify an entry, from what should do to what must."""
    identifier = identifier_of(entry)
    details = [identifier, entry["link"], entry["title"], entry["published"]]
    return [digest(identifier), digest("details", *details), digest("whole", *details, entry["summary"])]


def identifier_of(entry):
    return entry["id"] or entry["link"] or digest(entry["title"], entry["summary"])


def earlier_keys_of(entry):
    """Returns what an earlier version may know an entry by. It did not read `content:encoded` of RSS."""
    return [keys_of(entry)[0], keys_of({**entry, "summary": ""})[0]]


class Identities:
    """What identifies each entry of one reading of a feed: the first of its keys that no other entry of the feed has.

    Some publishers give all entries one `guid` or one link. A key that several entries have had once never identifies an
    entry again, even if only one of them is left: `shared` remembers that.
    """

    def __init__(self, entries, seen):
        self.marks, self.shared = [None] * len(entries), {}
        left = list(enumerate(keys_of(entry) for entry in entries))
        for level in range(3):
            counts = {}
            for _, keys in left:
                counts[keys[level]] = counts.get(keys[level], 0) + 1
            unclear = []
            for place, keys in left:
                mark = digest("shared", keys[level])
                if level < 2 and (counts[keys[level]] > 1 or mark in seen):
                    self.shared.setdefault(mark, []).append((place, keys))
                    unclear.append((place, keys))
                else:
                    self.marks[place] = keys[level]
            left = unclear
        # The oldest entry with a key that is shared for the first time is the one that is known by it.
        self.known = set()
        for mark, those in self.shared.items():
            place, keys = those[0]
            if mark not in seen and any(key in seen and digest("shared", key) == mark for key in keys):
                self.known.add(place)


def limit(entries, seen, share):
    """Returns how many entries are not read, which are the oldest, so that there is room for the marks of the others; and
    what identifies the others."""
    count, most = len(entries), share
    while True:
        count = min(count, most)
        identities = Identities(entries[len(entries) - count:], seen)
        if len(identities.marks) + len(identities.shared) <= share:
            break
        most //= 2
    return len(entries) - count, identities


class Feeds:
    """The feeds, what is known of them, and what they answered last."""

    def __init__(self, first, write):
        given = first.get("input") or {}
        self.feeds = list(dict.fromkeys(given.get("feeds", [])))
        self.emits_first = given.get("first") == "emit"
        self.write = write
        cursor = first.get("cursor") or {}
        # An entry that left its feed is remembered as long as there is room: it may come back.
        self.seen = self.restrict(cursor.get("feeds"))
        # Feeds as an earlier version of this program knew them, by the first key of each entry.
        self.earlier = {feed: marks for feed, marks in self.restrict(cursor.get("seen")).items() if feed not in self.seen}
        # What earlier versions wrote does not say which feeds are cut. A feed may be away for long until it is read again.
        uncertain = cursor.get("uncertain", ()) if "cut" in cursor else [digest(feed) for feed in (*self.seen, *self.earlier)]
        self.uncertain = {feed for feed in self.feeds if digest(feed) in uncertain}
        # Whether the cursor in the log says it.
        self.is_complete = "cut" in cursor or not self.uncertain
        cut = cursor.get("cut") or [digest(feed) for feed in self.uncertain if self.count(feed) >= MARKS_OF_A_CUT_FEED_MIN]
        self.cut = [feed for feed in self.feeds if digest(feed) in cut]
        # Feeds of which the log has a line.
        self.logged = set()
        self.validators = {}

    def count(self, feed):
        return len(self.seen.get(feed) or self.earlier.get(feed) or ())

    def restrict(self, marks):
        return {feed: dict.fromkeys(marks) for feed, marks in (marks or {}).items() if feed in self.feeds}

    def read(self, feed):
        """Reads a feed once, prints its new entries, and reports whether it could be read."""
        part = part_of(feed)
        try:
            answer = self.fetch(feed)
            if answer is not None:
                self.take(feed, *parse(*answer))
        except Unreadable as error:
            self.validators.pop(feed, None)
            self.write({"part": part, "state": "failing", "error": str(error)})
        except Exception as error:
            # One feed that nobody foresaw does not keep the others from being read.
            self.validators.pop(feed, None)
            self.write({"part": part, "state": "failing", "error": "an internal error of this program: %r" % error})
        else:
            self.write({"part": part, "state": "running"})

    def take(self, feed, title, entries):
        """Prints the entries that are new."""
        share = max(REMEMBERED_OF_A_FEED_MIN, REMEMBERED_MAX // max(1, len(self.feeds)))
        is_first = feed not in self.seen and feed not in self.earlier
        was_earlier, was_cut, was_uncertain = feed in self.earlier, feed in self.cut, feed in self.uncertain
        seen = self.seen.get(feed) or self.earlier.get(feed) or {}
        # The same entry twice is one.
        every = {keys_of(entry)[2]: entry for entry in entries}
        entries = sort(list(every.values()))
        unread, identities = limit(entries, seen, share)
        entries = entries[unread:]
        # Earlier versions read what the document lists first. They did not see the other entries, whether these are new or not.
        unseen = {keys_of(entry)[2] for entry in entries} - set(list(every)[-share:]) if was_uncertain else ()
        known = [
            mark in seen or place in identities.known or (was_earlier and any(key in seen for key in earlier_keys_of(entry)))
            for place, (entry, mark) in enumerate(zip(entries, identities.marks))
        ]
        # Entries of a cut feed that are older than each known one were there before, but out of reach: an entry was deleted,
        # or more entries are read than last time. In other feeds they are new: some list the newest last, without dates.
        oldest = known.index(True) if (was_cut or unread) and True in known else 0
        new, added = [], dict.fromkeys(mark for mark in identities.shared if mark not in seen)
        for place, (entry, mark) in enumerate(zip(entries, identities.marks)):
            if mark in seen or mark in added:
                continue
            if known[place] or place < oldest or (is_first and not self.emits_first) or keys_of(entry)[2] in unseen:
                added[mark] = None
            else:
                new.append((mark, entry))
        self.note_cut(feed, unread, len(entries))
        if entries:
            self.uncertain.discard(feed)
        has_changed = bool(added) or is_first or was_earlier or was_cut != (feed in self.cut) or not self.is_complete
        has_changed = has_changed or was_uncertain != (feed in self.uncertain)
        self.is_complete = True
        self.earlier.pop(feed, None)
        self.seen[feed] = seen
        current = set(identities.marks) | set(identities.shared)
        forget(seen, len(added) + len(new), share, current)
        seen.update(added)
        if has_changed and not new:
            # No rule of `emits` fits this line, but its cursor is kept: what comes while the sensor is off is new.
            self.write({"event": {"read": feed}, "cursor": self.cursor()})
        for mark, entry in new:
            seen[mark] = None
            self.write({"event": {"feed": feed, "feed_title": title, **render(entry, mark)}, "cursor": self.cursor()})

    def note_cut(self, feed, unread, read):
        """Remembers whether a feed has entries that are not read, and logs it when that begins."""
        if not read:
            # A publisher that fails may list nothing for some time.
            return
        if not unread:
            self.cut = [other for other in self.cut if other != feed]
            self.logged.discard(feed)
            return
        if feed not in self.cut:
            self.cut.append(feed)
        if feed not in self.logged:
            self.logged.add(feed)
            self.write({"log": "%s has %d entries; not read: the oldest %d" % (part_of(feed), read + unread, unread)})

    def cursor(self):
        cursor = {"feeds": {feed: list(marks) for feed, marks in self.seen.items()}, "cut": [digest(feed) for feed in self.cut]}
        if self.earlier:
            cursor["seen"] = {feed: list(marks) for feed, marks in self.earlier.items()}
        if self.uncertain:
            cursor["uncertain"] = [digest(feed) for feed in self.feeds if feed in self.uncertain]
        return cursor

    def fetch(self, feed):
        """Returns the bytes of a feed and its media type, or None if it did not change."""
        if not feed.startswith(("http://", "https://")):
            raise Unreadable("it is not an http or https address")
        headers = {"User-Agent": "ensue-rss/0.1", "Accept": ACCEPTED, "Accept-Encoding": "gzip, deflate"}
        headers.update(self.validators.get(feed, {}))
        try:
            with urllib.request.urlopen(urllib.request.Request(feed, headers=headers), timeout=TIMEOUT_SECONDS) as answer:
                data = read_whole(answer)
                kind, coding = answer.headers.get("Content-Type") or "", answer.headers.get("Content-Encoding") or ""
                known = {"If-None-Match": answer.headers.get("ETag"), "If-Modified-Since": answer.headers.get("Last-Modified")}
        except urllib.error.HTTPError as error:
            if error.code == 304:
                return None
            raise Unreadable("the server answered %d" % error.code)
        except http.client.IncompleteRead:
            raise Unreadable("the answer ended before its end")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unreadable("it cannot be fetched: %s" % (getattr(error, "reason", None) or error or type(error).__name__))
        data = decompress(data, coding)
        self.validators[feed] = {name: value for name, value in known.items() if value}
        return data, kind


def render(entry, mark):
    """Returns an entry as the event has it. An identifier that several entries have is followed by what distinguishes them."""
    identifier = identifier_of(entry)
    if mark != digest(identifier):
        identifier += "#" + mark
    return {**entry, "id": identifier, "summary": entry["summary"][:SUMMARY_CHARS_MAX]}


def forget(seen, coming, share, current):
    """Makes room for marks, the oldest first. Those of the entries that the feed still has are kept."""
    for mark in [mark for mark in seen if mark not in current][: max(0, len(seen) + coming - share)]:
        del seen[mark]


def part_of(feed):
    """Returns the name under which operators see a feed. What a long address loses is distinguished by its digest."""
    data = feed.encode("utf-8", "replace")
    if len(data) <= PART_BYTES_MAX:
        return feed or "(an empty address)"
    return data[: PART_BYTES_MAX - 20].decode("utf-8", "ignore") + "…" + digest(feed)


def read_whole(answer):
    """Reads a whole answer, which may be neither too large nor too slow."""
    pieces, count, until = [], 0, time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        piece = answer.read1(64 << 10)
        if not piece:
            break
        pieces.append(piece)
        count += len(piece)
        if count > FEED_BYTES_MAX:
            raise Unreadable("it has more than %d bytes" % FEED_BYTES_MAX)
        if time.monotonic() > until:
            raise Unreadable("it was not complete after %d s" % ANSWER_SECONDS_MAX)
    if answer.length:
        raise http.client.IncompleteRead(b"", answer.length)
    return b"".join(pieces)


def decompress(data, coding):
    """Returns the bytes without their compression. Some servers do not declare it, and some declare it without need."""
    coding = coding.strip().lower()
    if data.startswith(GZIP_MAGIC):
        return inflate(data, GZIP)
    if coding == "deflate" and data[:1] not in (b"<", b"{"):
        # The standard means zlib, and some servers send the bare bytes.
        return inflate(data, 15 if data[:1] == b"\x78" else -15)
    if coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Unreadable("it is compressed with `%s`, which was not asked for" % coding[:40])
    return data


def inflate(data, window):
    """Returns the decompressed bytes. Those of gzip may have several members, one after the other."""
    pieces, count, at = [], 0, 0
    while True:
        inflating = zlib.decompressobj(window)
        while not inflating.eof:
            # A whole answer at once would be copied for each member, of which it may have half a million.
            given = data[at:at + INFLATED_BYTES]
            if not given:
                raise Unreadable("its compressed data ends before its end")
            try:
                pieces.append(inflating.decompress(given, FEED_BYTES_MAX + 1 - count))
            except zlib.error as error:
                raise Unreadable("it cannot be decompressed: %s" % error)
            at += len(given) - len(inflating.unused_data)
            count += len(pieces[-1])
            if count > FEED_BYTES_MAX:
                raise Unreadable("it has more than %d bytes once it is decompressed" % FEED_BYTES_MAX)
        # Some servers append other bytes, which are no part of the document.
        if window != GZIP or not data.startswith(GZIP_MAGIC, at):
            return b"".join(pieces)


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
