"""Tests of the program that reads feeds, against a server of their own."""

import http.server
import os
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sensors"))
import feeds  # noqa: E402

RSS = """<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>News</title>
%s</channel></rss>"""
ITEM = """<item><title>Number %d</title><link>https://example.test/%d</link><guid isPermaLink="false">g%d</guid>
<pubDate>Thu, 01 Jan 2026 00:00:00 GMT</pubDate><dc:creator>Ada</dc:creator><description>&lt;b&gt;bold&lt;/b&gt;</description></item>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title type="text">Releases</title>
<entry><id>urn:2</id><title>Two</title><link rel="edit" href="https://x"/><link href="https://example.test/2"/>
<updated>2026-01-02T00:00:00Z</updated><author><name>Bob</name></author><content type="html">second</content></entry>
<entry><id>urn:1</id><title>One</title><link rel="alternate" href="https://example.test/1"/><published>2026-01-01T00:00:00Z</published></entry>
</feed>"""


def rss(*numbers):
    return (RSS % "".join(ITEM % (n, n, n) for n in numbers)).encode()


class Site(http.server.BaseHTTPRequestHandler):
    body, asked = b"", []

    def do_GET(self):
        Site.asked.append(dict(self.headers))
        tag = '"%d"' % hash(Site.body)
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200 if Site.body else 500)
        self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(Site.body)

    def log_message(self, *_):
        pass


class Parsing(unittest.TestCase):
    def test_rss_is_read_oldest_first(self):
        title, entries = feeds.parsed(rss(2, 1))
        self.assertEqual(title, "News")
        self.assertEqual([entry["id"] for entry in entries], ["g1", "g2"])
        self.assertEqual(entries[0]["link"], "https://example.test/1")
        self.assertEqual((entries[0]["author"], entries[0]["summary"]), ("Ada", "<b>bold</b>"))

    def test_atom_is_read_oldest_first(self):
        title, entries = feeds.parsed(ATOM)
        self.assertEqual((title, [entry["id"] for entry in entries]), ("Releases", ["urn:1", "urn:2"]))
        self.assertEqual((entries[1]["link"], entries[1]["author"], entries[1]["summary"]), ("https://example.test/2", "Bob", "second"))
        self.assertEqual(entries[0]["published"], "2026-01-01T00:00:00Z")

    def test_entry_without_an_id_is_known_by_its_content(self):
        _, [entry] = feeds.parsed(b"<rss><channel><item><title>only a title</title></item></channel></rss>")
        self.assertEqual(entry["id"], feeds.digest("only a title\n"))

    def test_what_is_no_feed_is_reported(self):
        bomb = b'<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><rss><channel><title>&b;</title></channel></rss>'
        for data, expected in [(b"<html/>", "neither RSS nor Atom"), (b"{}", "not XML"), (b"", "not XML"), (bomb, "declares entities")]:
            with self.assertRaisesRegex(feeds.Unreadable, expected):
                feeds.parsed(data)


class Reading(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/" % self.server.server_port
        self.lines, Site.asked = [], []

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def started(self, first="skip", cursor=None):
        return feeds.Feeds({"input": {"feeds": [self.url], "first": first}, "cursor": cursor}, self.lines.append)

    def printed(self):
        lines, self.lines[:] = list(self.lines), []
        return [line["event"].get("id", "read") if "event" in line else line["log"] for line in lines]

    def test_only_new_entries_are_printed_and_once(self):
        reader = self.started()
        Site.body = rss(2, 1)
        reader.read(self.url)
        cursor = self.lines[-1]["cursor"]
        self.assertEqual(self.printed(), ["read"])
        # What is published while the sensor is off is new.
        Site.body = rss(4, 3, 2)
        reader = self.started(cursor=cursor)
        reader.read(self.url)
        self.assertEqual(self.printed(), ["g3", "g4"])
        # An entry that was gone comes back.
        Site.body = rss(1, 4)
        reader.read(self.url)
        self.assertEqual(self.printed(), [])

    def test_reader_continues_after_each_cursor(self):
        Site.body = rss(3, 2, 1)
        self.started("emit").read(self.url)
        lines = list(self.lines)
        self.assertEqual(self.printed(), ["g1", "g2", "g3"])
        for number, line in enumerate(lines):
            self.started("emit", line["cursor"]).read(self.url)
            self.assertEqual(self.printed(), ["g1", "g2", "g3"][number + 1:])

    def test_unchanged_feed_is_not_sent_again(self):
        Site.body = rss(1)
        reader = self.started("emit")
        reader.read(self.url)
        reader.read(self.url)
        self.assertEqual(self.printed(), ["g1"])
        self.assertIn("If-None-Match", Site.asked[1])

    def test_broken_feed_is_logged_and_read_again(self):
        reader = self.started("emit")
        Site.body = b""
        reader.read(self.url)
        self.assertEqual(self.printed(), [self.url + ": the server answered 500"])
        Site.body = rss(1)
        reader.read(self.url)
        self.assertEqual(self.printed(), ["g1"])

    def test_remembered_entries_are_limited(self):
        reader = self.started()
        Site.body = rss(*range(feeds.REMEMBERED_MAX + 50))
        reader.read(self.url)
        self.assertEqual(len(reader.seen[self.url]), feeds.REMEMBERED_MAX)
        self.assertLess(len(str(reader.listed())), 256 << 10)


if __name__ == "__main__":
    unittest.main()
