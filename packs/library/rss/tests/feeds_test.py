"""Tests of the program that reads feeds, against a server of their own."""

import email.utils
import gzip
import http.server
import json
import os
import random
import sys
import threading
import unittest
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sensors"))
import documents  # noqa: E402
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


def dated(*numbers):
    """Returns a feed of which each entry is one day newer than the one of the number before."""
    items = (item("t", "<guid>g%d</guid><pubDate>%s</pubDate>" % (n, email.utils.formatdate(1_700_000_000 + n * 86_400))) for n in numbers)
    return channel("".join(items)).encode()


def rss(*numbers):
    return (RSS % "".join(ITEM % (n, n, n) for n in numbers)).encode()


def channel(items, declaration="", root='<rss version="2.0">'):
    return declaration + root + "<channel><title>N</title>" + items + "</channel></rss>"


def item(title, more=""):
    return "<item><title>%s</title>%s</item>" % (title, more)


def declared(charset):
    return '<?xml version="1.0" encoding="%s"?>' % charset


RDF = '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="%s"><channel><title>N</title></channel>%s</rdf:RDF>'

# What feeds in the wild are like, with the titles of their entries, newest first.
WILD = {
    "latin-1": (channel(item("Grüße"), declared("ISO-8859-1")).encode("latin-1"), ["Grüße"]),
    "cp1251 behind a blank line": (("\n" + channel(item("Привет"), declared("windows-1251"))).encode("cp1251"), ["Привет"]),
    "quotes of cp1252 declared as latin-1": (channel(item("“q” – €"), declared("ISO-8859-1")).encode("cp1252"), ["“q” – €"]),
    "cp1252 declared as utf-8": (channel(item("café"), declared("utf-8")).encode("cp1252"), ["café"]),
    "gb2312": (channel(item("你好"), declared("gb2312")).encode("gb2312"), ["你好"]),
    "shift_jis": (channel(item("こんにちは"), declared("Shift_JIS")).encode("shift_jis"), ["こんにちは"]),
    "utf-16 with its mark": (channel(item("Grüße"), declared("utf-16")).encode("utf-16"), ["Grüße"]),
    "utf-16 without its mark": (channel(item("Grüße"), declared("utf-16")).encode("utf-16-le"), ["Grüße"]),
    "utf-8 with its mark and a blank line": (b"\xef\xbb\xbf\r\n" + channel(item("é"), declared("utf-8")).encode(), ["é"]),
    "one bad byte": (channel(item("é") + item("bad?")).encode().replace(b"?", b"\xff"), ["é", "bad\ufffd"]),
    "undefined entities": (channel(item("a&nbsp;b &eacute; &hellip;")), ["a\u00a0b é …"]),
    "ampersands": (channel(item("AT&T & more &x;")), ["AT&T & more &x;"]),
    "references that are no characters": (channel(item("a&#0;b&#xD800;&#x1F600;&#150;")), ["a\ufffdb\ufffd😀–"]),
    "control characters": (channel(item("a\x0bb")), ["ab"]),
    "undeclared prefixes": (channel(item("a", '<media:thumbnail url="x"/><dc:creator>Ada</dc:creator>')), ["a"]),
    "cut off": (channel(item("a") + item("b"))[:-35], ["a"]),
    "more behind its end": (channel(item("a")) + "<script>1</script>", ["a"]),
    "html that is not escaped": (channel(item("a", "<description><p>x<br>y" + "<br>" * 300 + "</description>") + item("b")), ["a", "b"]),
    "tags that do not match": (channel("<item><title>a</title><description><b>x</description></item>" + item("b")), ["a", "b"]),
    "the same attribute twice": (channel(item("a", '<enclosure url="x" url="y"/>')), ["a"]),
    "sections of text": (channel(item("<![CDATA[a <b> & &nbsp; c]]>")), ["a <b> & &nbsp; c"]),
    "a section of text in broken xml": (channel(item("<![CDATA[a <b> c]]>", "<br>")), ["a <b> c"]),
    "capital letters": ("<RSS><CHANNEL><TITLE>N</TITLE><ITEM><TITLE>a</TITLE></ITEM></CHANNEL></RSS>", ["a"]),
    "a warning before it": ("<br />\n<b>Warning</b>: mysql_connect()\n" + channel(item("a"), declared("utf-8")), ["a"]),
    "no rss around its channel": ("<channel><title>N</title>" + item("a") + "</channel>", ["a"]),
    "rss 0.91 with a doctype": (
        channel(
            item("a"),
            '<?xml version="1.0"?><!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://my.netscape.com/x.dtd">',
        ),
        ["a"],
    ),
    "a doctype with an entity": (channel(item("a&nbsp;b"), '<!DOCTYPE rss [<!ENTITY nbsp "&#160;">]>'), ["a\u00a0b"]),
    "rss with a namespace": (channel(item("a"), "", '<rss xmlns="http://backend.userland.com/rss2">'), ["a"]),
    "rss 0.90": (RDF % ("http://my.netscape.com/rdf/simple/0.9/", item("a")), ["a"]),
    "rss 1.0": (RDF % ("http://purl.org/rss/1.0/", item("a")), ["a"]),
    "atom 0.3": ('<feed version="0.3" xmlns="http://purl.org/atom/ns#"><title>N</title><entry><title>a</title></entry></feed>', ["a"]),
    "atom with a prefix": (
        '<a:feed xmlns:a="http://www.w3.org/2005/Atom"><a:title>N</a:title><a:entry><a:title>a</a:title></a:entry></a:feed>',
        ["a"],
    ),
    "atom with xhtml": (
        '<feed xmlns="http://www.w3.org/2005/Atom"><title>N</title><entry><title type="xhtml">'
        '<div xmlns="http://www.w3.org/1999/xhtml">a <b>b</b></div></title></entry></feed>',
        ["a b"],
    ),
    "json feed": (
        json.dumps({"version": "https://jsonfeed.org/version/1.1", "title": "N", "items": [{"id": 1, "title": "a"}, {"title": "\ud800b"}]}),
        ["a", "b"],
    ),
    "no entries": (channel(""), []),
}


HOSTILE = ["<", "<!", "<!--", "<![CDATA[", "]]>", "<!DOCTYPE[", "<a b='", '<a b="', "&", "&a", "&#", "<a>", "</a>", "</zz>"]
HOSTILE += ["<?xml ", "<item>", "</item>", "<a x", "<a x='y' ", "<a xmlns:q='r'>"]


def work_of(run):
    """Returns how many lines of Python a function runs."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run()
    except feeds.Unreadable:
        pass
    finally:
        sys.settrace(before)
    return count


class Passed(str):
    """A text that counts how many of its characters its methods look through."""

    count = 0

    def find(self, wanted, begin=0):
        found = str.find(self, wanted, begin)
        self.count += (len(self) if found < 0 else found) - begin + 1
        return found

    def __getitem__(self, place):
        piece = str.__getitem__(self, place)
        self.count += len(piece)
        return piece


class Site(http.server.BaseHTTPRequestHandler):
    body, asked, sent = b"", [], {}

    def do_GET(self):
        Site.asked.append(dict(self.headers))
        tag = '"%d"' % hash(Site.body)
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.end_headers()
            return
        self.send_response(200 if Site.body else 500)
        self.send_header("ETag", tag)
        for name, value in Site.sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(Site.body)

    def log_message(self, *_):
        pass


class Parsing(unittest.TestCase):
    def test_rss_is_read_oldest_first(self):
        title, entries = feeds.parse(rss(2, 1))
        self.assertEqual(title, "News")
        self.assertEqual([entry["id"] for entry in entries], ["g1", "g2"])
        self.assertEqual(entries[0]["link"], "https://example.test/1")
        self.assertEqual((entries[0]["author"], entries[0]["summary"]), ("Ada", "<b>bold</b>"))

    def test_atom_is_read_oldest_first(self):
        title, entries = feeds.parse(ATOM)
        self.assertEqual((title, [entry["id"] for entry in entries]), ("Releases", ["urn:1", "urn:2"]))
        self.assertEqual((entries[1]["link"], entries[1]["author"], entries[1]["summary"]), ("https://example.test/2", "Bob", "second"))
        self.assertEqual(entries[0]["published"], "2026-01-01T00:00:00Z")

    def test_entry_without_an_id_is_known_by_its_content(self):
        _, [entry] = feeds.parse(b"<rss><channel><item><title>only a title</title></item></channel></rss>")
        self.assertEqual(feeds.identifier_of(entry), feeds.digest("only a title\n"))

    def test_dates_of_all_formats_are_read(self):
        for published, seconds in [
            ("Thu, 01 Jan 2026 01:00:00 +0100", 1767225600),
            ("01 Jan 26 00:00:00 GMT", 1767225600),
            ("2026-01-01T00:00:00Z", 1767225600),
            (" 2025-12-31T23:30:00.25-00:30 ", 1767225600),
            ("2026-01-01 00:00", 1767225600),
            ("2026-01-01", 1767225600),
            ("2026-01", 1767225600),
            ("0001-01-01T00:00:00Z", None),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("2026-13-01", None),
            ("2026-01-01T00:00:00Z" + "9" * 60, None),
            ("yesterday", None),
            ("", None),
        ]:
            self.assertEqual(documents.time_of(published), seconds, published)

    def test_feeds_in_the_wild_are_read(self):
        for kind, (document, titles) in WILD.items():
            with self.subTest(kind):
                data = document if isinstance(document, bytes) else document.encode()
                title, entries = feeds.parse(data)
                self.assertEqual((title, [entry["title"] for entry in reversed(entries)]), ("N", titles))

    def test_entities_that_a_feed_declares_are_not_expanded(self):
        entities = '<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
        for document in [channel(item("&b;"), entities), channel(item("&b;"), "<!-- <!DOCTYPE x> -->" + entities)]:
            _, [entry] = feeds.parse(document.encode())
            self.assertEqual(entry["title"], "&b;")
        with self.assertRaisesRegex(feeds.Unreadable, "declares entities"):
            documents.Strict().read(channel(item("&b;"), entities))

    def test_charset_of_the_server_counts_unless_it_is_a_setting_for_all_files(self):
        greeting = channel(item("Привет"))
        for data, kind in [
            (greeting.encode("koi8-r"), "text/xml; charset=koi8-r"),
            (greeting.encode(), "text/xml; charset=windows-1251"),
            ((declared("windows-1251") + greeting).encode("cp1251"), "text/xml; charset=ISO-8859-1"),
            (greeting.encode("iso-2022-jp"), "text/xml; charset=iso-2022-jp"),
        ]:
            _, [entry] = feeds.parse(data, kind)
            self.assertEqual(entry["title"], "Привет", kind)
        _, [entry] = feeds.parse(channel(item("a")).encode(), "text/xml; charset=rot13")
        self.assertEqual(entry["title"], "a")

    def test_fields_of_each_format_are_found(self):
        wanted = {"id": "1", "title": "t", "link": "https://x.test/1", "published": "2026-01-01", "summary": "s", "author": "Ada"}
        plain = "<title>t</title><link>https://x.test/1</link><description>s</description>"
        dc = '<dc:date>2026-01-01</dc:date><dc:creator>Ada</dc:creator>'
        atom = '<id>1</id><title>t</title><link rel="self" href="x"/><link href="https://x.test/1"/><summary>s</summary>'
        for data in [
            channel("<item>" + plain + "<guid>1</guid><pubDate>2026-01-01</pubDate><author>Ada</author></item>"),
            channel("<item>" + plain + "<guid>1</guid>" + dc + "</item>"),
            RDF % ("http://purl.org/rss/1.0/", '<item rdf:about="1">' + plain + dc + "</item>"),
            "<feed><entry>" + atom + "<issued>2026-01-01</issued><author><name>Ada</name></author></entry></feed>",
            "<feed><entry>" + atom + "<published>2026-01-01</published><author><name>Ada</name></author><br></entry></feed>",
            json.dumps({"version": "https://jsonfeed.org/version/1", "items": [
                {"id": "1", "title": "t", "url": "https://x.test/1", "date_published": "2026-01-01", "content_html": "s", "author": {"name": "Ada"}}]}),
        ]:
            _, [entry] = feeds.parse(data.encode())
            self.assertEqual(entry, wanted, data)

    def test_any_damage_leaves_a_feed_or_a_reason(self):
        drawn = random.Random(7)
        documents_of = [document if isinstance(document, bytes) else document.encode() for document, _ in WILD.values()]
        for _ in range(1500):
            data = bytearray(drawn.choice(documents_of))
            for _ in range(drawn.randrange(1, 8)):
                at = drawn.randrange(len(data))
                cut = drawn.choice([b"", b"<", b">", b"&", b"\xff", b"\x00", b"<![CDATA[", b"<!--", b"]]>", b"'", b"<item>", b"</item>"])
                data[at:at + drawn.randrange(4)] = cut
            try:
                feeds.parse(bytes(data))
            except feeds.Unreadable:
                pass

    def test_work_for_a_hostile_feed_grows_with_its_length_only(self):
        deep = "<b>" * 90 + "<item>" + "<a>" * 90
        for before, piece in [("<item>", piece) for piece in HOSTILE] + [(deep, "</zz>"), (deep, "</b>"), (deep, "</item>"), (deep, "<item>")]:
            text = "<rss><channel>" + before + piece * (40_000 // len(piece))
            self.assertLess(work_of(lambda: feeds.parse(text.encode())), 30 * len(text), piece)
            # What the methods of a text look through is no step of the program.
            passed = Passed(text)
            try:
                documents.outside_cdata(passed, str, str)
                documents.Loose().read(passed)
            except feeds.Unreadable:
                pass
            self.assertLess(passed.count, 30 * len(text), piece)
        text = '{"a":' * 8_000
        self.assertLess(work_of(lambda: feeds.parse(text.encode())), 30 * len(text))

    def test_number_of_many_digits_is_text_or_a_reason(self):
        for digits in ["9" * 200_000, "x" + "f" * 200_000, "9" * 9, "X" + "0" * 8]:
            # The comment looks like the beginning of a section of text, in which nothing is repaired.
            hidden = "<!-- <![CDATA[ --><title>&#" + digits + ";</title><p q='&#" + digits + ";'/> ]]>"
            title, [entry] = feeds.parse(("<rss><channel>" + hidden + item("a&#" + digits + ";") + "</channel>").encode())
            self.assertEqual((title, entry["title"]), ("&#" + digits + ";", "a&#" + digits + ";"))
        version = '{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": %s}]}'
        for number in ["9" * 200_000, "-" + "9" * 101, "1." + "9" * 200_000, "1e" + "9" * 101]:
            with self.assertRaisesRegex(feeds.Unreadable, "a number of more than 100 characters"):
                feeds.parse((version % number).encode())
        _, [entry] = feeds.parse((version % ("9" * 100)).encode())
        self.assertEqual(entry["id"], "9" * 100)

    def test_entry_without_its_end_is_read_unless_the_document_breaks_off_at_it(self):
        listed = "<item><guid>1</guid><title>a & b<item><guid>2</guid><title>c</title></item><item><guid>3</guid><title>d</title>"
        for end in ["</channel></rss>", "</channel>", "</rss>"]:
            _, entries = feeds.parse(("<rss><channel>" + listed + end).encode())
            self.assertEqual([(entry["id"], entry["title"]) for entry in reversed(entries)], [("1", "a & b"), ("2", "c"), ("3", "d")])
        for end in ["", "<description>half", "<description>half</b>", "</titl", "</channel"]:
            _, entries = feeds.parse(("<rss><channel>" + listed + end).encode())
            self.assertEqual([entry["id"] for entry in reversed(entries)], ["1", "2"], end)

    def test_what_is_no_feed_is_reported(self):
        page = b"<!DOCTYPE html><html><body><rss></rss></body></html>"
        for data, expected in [
            (b"<html/>", "neither RSS, Atom nor JSON Feed"),
            (page, "its root is <html>"),
            (b"<?xml version='1.0'?><opml/>", "its root is <opml>"),
            (b"<?xml version='1.0'?><opml>", "it is not XML: .* line 1"),
            (b"{}", "no JSON Feed"),
            (b"{", "not JSON"),
            (b" \n", "empty"),
            (b"<rss></rss>", "without a channel"),
            (b"<rss>" + b"<a>" * 300 + b"</a>" * 300 + b"</rss>", "without a channel"),
        ]:
            with self.assertRaisesRegex(feeds.Unreadable, expected):
                feeds.parse(data)


class Reading(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = "http://127.0.0.1:%d/" % self.server.server_port
        self.lines, Site.asked, Site.sent = [], [], {}

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def started(self, first="skip", cursor=None, count=1):
        """Returns a reader of the feed, which has `count - 1` others that nobody reads."""
        listed = [self.url] + ["http://%d" % n for n in range(count - 1)]
        return feeds.Feeds({"input": {"feeds": listed, "first": first}, "cursor": cursor}, self.lines.append)

    def printed(self):
        lines, self.lines[:] = list(self.lines), []
        return [line["event"].get("id", "read") for line in lines if "event" in line]

    def part(self):
        """Returns the state and the error of the feed, as it was reported last."""
        lines = [line for line in self.lines if "part" in line]
        self.assertEqual(lines[-1]["part"], self.url)
        return lines[-1]["state"], lines[-1].get("error")

    def cursor(self):
        return [line["cursor"] for line in self.lines if "cursor" in line][-1]

    def read(self, body, reader):
        """Returns what a reader prints of a document."""
        Site.body = body if isinstance(body, bytes) else body.encode()
        self.lines.clear()
        reader.read(self.url)
        return [line["event"] for line in self.lines if "event" in line and "id" in line["event"]]

    def test_only_new_entries_are_printed_and_once(self):
        reader = self.started()
        Site.body = rss(2, 1)
        reader.read(self.url)
        cursor = self.cursor()
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
        lines = [line for line in self.lines if "cursor" in line]
        self.assertEqual(self.printed(), ["g1", "g2", "g3"])
        for number, line in enumerate(lines):
            self.started("emit", line["cursor"]).read(self.url)
            self.assertEqual(self.printed(), ["g1", "g2", "g3"][number + 1:])

    def test_reader_of_a_cut_feed_continues_after_each_cursor(self):
        for numbers in [range(50, 0, -1), range(1, 51)]:
            expected = ["g%d" % n for n in range(31, 51)]
            self.assertEqual(self.ids(dated(*numbers), self.started("emit", count=400)), expected)
            lines = [line for line in self.lines if "cursor" in line]
            for number, line in enumerate(lines):
                for count in [400, 100]:
                    self.assertEqual(self.ids(dated(*numbers), self.started("emit", line["cursor"], count)), expected[number + 1:])

    def test_unchanged_feed_is_not_sent_again(self):
        Site.body = rss(1)
        reader = self.started("emit")
        reader.read(self.url)
        reader.read(self.url)
        self.assertEqual(self.printed(), ["g1"])
        self.assertIn("If-None-Match", Site.asked[1])

    def test_feed_that_cannot_be_read_is_a_part_that_fails_until_it_is_read_again(self):
        reader = self.started("emit")
        for body, why in [(b"", "the server answered 500"), (b"<html/>", "it is neither RSS, Atom nor JSON Feed: it begins with '<html/>'")]:
            self.assertEqual(self.read(body, reader), [])
            self.assertEqual(self.part(), ("failing", why))
        # What could not be read is asked for again, although it did not change.
        reader.read(self.url)
        self.assertEqual(self.part()[0], "failing")
        self.assertEqual([entry["id"] for entry in self.read(rss(1), reader)], ["g1"])
        self.assertEqual(self.part(), ("running", None))
        reader.read(self.url)
        self.assertEqual(self.part(), ("running", None), "it did not change")

    def test_server_that_is_away_and_an_address_that_is_none_are_parts_that_fail(self):
        for url in ["http://127.0.0.1:1/", "ftp://x", "", "http://[", "http://127.0.0.1:1/" + "é" * 2000]:
            reader = feeds.Feeds({"input": {"feeds": [url]}}, self.lines.append)
            reader.read(url)
            line = self.lines.pop()
            self.assertEqual(line["state"], "failing", url)
            self.assertTrue(0 < len(line["part"].encode()) <= 1024 and line["error"], line)

    def test_answer_that_is_compressed_is_read(self):
        bare = zlib.compressobj(wbits=-15)
        for body, coding in [
            (gzip.compress(rss(1)), "gzip"),
            (gzip.compress(rss(1)), None),
            (rss(1), "gzip"),
            (zlib.compress(rss(1)), "deflate"),
            (bare.compress(rss(1)) + bare.flush(), "deflate"),
        ]:
            Site.sent = {"Content-Encoding": coding} if coding else {}
            self.assertEqual([entry["id"] for entry in self.read(body, self.started("emit"))], ["g1"], coding)
        Site.sent = {"Content-Encoding": "br"}
        self.read(rss(1), self.started())
        self.assertEqual(self.part(), ("failing", "it is compressed with `br`, which was not asked for"))
        Site.sent = {}
        self.read(gzip.compress(b" " * (feeds.FEED_BYTES_MAX + 1)), self.started())
        self.assertIn("once it is decompressed", self.part()[1])

    def test_answer_of_several_compressed_members_is_read_whole(self):
        body = rss(*range(30, 0, -1))
        members = b"".join(gzip.compress(body[at:at + 700]) for at in range(0, len(body), 700))
        for data in [members, members + b"\x00" * 8, gzip.compress(b"") * 9000 + members]:
            found = self.read(data, self.started("emit"))
            self.assertEqual([entry["id"] for entry in found], ["g%d" % n for n in range(1, 31)])
        # The limit is one of all members together.
        half = gzip.compress(b" " * (feeds.FEED_BYTES_MAX // 2 + 1))
        self.read(half + half, self.started())
        self.assertIn("once it is decompressed", self.part()[1])

    def test_compressed_answer_that_breaks_off_is_not_taken_for_a_feed(self):
        body, bare = rss(*range(30, 0, -1)), zlib.compressobj(wbits=-15)
        for data, coding in [
            (gzip.compress(body), "gzip"),
            (gzip.compress(body[:600]) + gzip.compress(body[600:]), "gzip"),
            (zlib.compress(body), "deflate"),
            (bare.compress(body) + bare.flush(), "deflate"),
        ]:
            Site.sent, reader = {"Content-Encoding": coding}, self.started()
            for lost in [60, 1]:
                self.assertEqual(self.read(data[:-lost], reader), [])
                self.assertEqual(self.part(), ("failing", "its compressed data ends before its end"))
            # The first reading is the one of a whole answer.
            self.assertEqual(self.read(data, reader), [])
            self.assertEqual(len(self.cursor()["feeds"][self.url]), 30)

    def test_answer_that_breaks_off_is_not_taken_for_a_feed(self):
        Site.sent = {"Content-Length": "100000"}
        self.assertEqual(self.read(rss(1), self.started("emit")), [])
        self.assertEqual(self.part(), ("failing", "the answer ended before its end"))

    def test_entries_with_one_link_or_one_guid_are_told_apart(self):
        for same in ["<link>https://shop.example</link><pubDate>x</pubDate>", "<guid>1</guid>", "<guid>1</guid><link>https://a</link>"]:
            reader = self.started("emit")
            listed = [item("Number %d" % n, same + "<description>d%d</description>" % n) for n in range(6)]
            found = self.read(channel("".join(listed[:3])), reader)
            self.assertEqual([entry["title"] for entry in found], ["Number 2", "Number 1", "Number 0"])
            self.assertEqual(len({entry["id"] for entry in found}), 3)
            # The next one comes, at first beside the others and then alone.
            self.assertEqual([entry["title"] for entry in self.read(channel(listed[3] + listed[0]), reader)], ["Number 3"])
            self.assertEqual([entry["title"] for entry in self.read(channel(listed[4]), self.started("emit", self.cursor()))], ["Number 4"])
            self.assertEqual(self.read(channel(listed[4] + listed[1]), reader)[1:], [])

    def test_entries_that_differ_only_in_their_text_are_told_apart(self):
        texts = ["<item><description>%d</description><link>https://a</link></item>" % n for n in range(3)]
        reader = self.started("emit")
        self.assertEqual([entry["summary"] for entry in self.read(channel(texts[1] + texts[0]), reader)], ["0", "1"])
        self.assertEqual([entry["summary"] for entry in self.read(channel(texts[2]), reader)], ["2"])
        self.assertEqual(self.read(channel("".join(texts)), reader), [])

    def test_entry_whose_guid_is_used_again_is_not_printed_again(self):
        reader = self.started("emit")
        one, two = item("one", "<guid>1</guid>"), item("two", "<guid>1</guid>")
        self.assertEqual(len(self.read(channel(one), reader)), 1)
        self.assertEqual([entry["title"] for entry in self.read(channel(two + one), reader)], ["two"])
        self.assertEqual(self.read(channel(one), reader), [])

    def test_change_of_the_title_of_an_entry_with_a_guid_makes_no_event(self):
        reader = self.started("emit")
        self.read(rss(2, 1), reader)
        self.assertEqual(self.read(rss(2, 1).replace(b"Number 1", b"Corrected"), reader), [])

    def test_same_entry_twice_is_one_and_keeps_its_guid(self):
        reader = self.started("emit")
        self.assertEqual([entry["id"] for entry in self.read(rss(1, 1), reader)], ["g1"])
        self.assertEqual(self.read(rss(1).replace(b"Number", b"Corrected"), reader), [])

    def test_cursor_of_an_earlier_version_prints_nothing_again(self):
        earlier = {"seen": {self.url: [feeds.digest("g1"), feeds.digest("https://a"), feeds.digest(feeds.digest("t\n"))], "https://gone": ["x"]}}
        same = "".join(item("Number %d" % n, "<link>https://a</link>") for n in range(5)) + item("t")
        body = rss(2, 1).replace(b"</channel>", same.encode() + b"</channel>")
        reader = self.started("emit", earlier)
        self.assertEqual([entry["id"] for entry in self.read(body, reader)], ["g2"])
        self.assertEqual(set(self.cursor()), {"feeds", "cut"})
        # From now on, entries with that link are told apart.
        more = body.replace(b"</channel>", item("Number 9", "<link>https://a</link>").encode() + b"</channel>")
        self.assertEqual([entry["title"] for entry in self.read(more, self.started("emit", self.cursor()))], ["Number 9"])

    def test_another_entry_adds_one_mark_to_the_end_of_the_cursor(self):
        reader = self.started("emit")
        self.read(rss(4, 3, 2, 1), reader)
        before = self.cursor()["feeds"][self.url]
        # The feed lists its entries in another order.
        self.read(rss(1, 5, 3, 4), reader)
        after = self.cursor()["feeds"][self.url]
        self.assertEqual((after[:-1], len(after)), (before, 5))

    def test_entries_that_the_feed_has_are_never_forgotten(self):
        reader = self.started("emit", count=400)
        self.assertEqual(len(self.read(rss(*range(60, 0, -1)), reader)), feeds.REMEMBERED_OF_A_FEED_MIN)
        for _ in range(3):
            self.assertEqual(self.read(rss(*range(60, 0, -1)) + b" ", reader), [])
        self.assertEqual([entry["id"] for entry in self.read(rss(*range(61, 0, -1)), reader)], ["g61"])

    def ids(self, body, reader):
        return [entry["id"] for entry in self.read(body, reader)]

    def logged(self):
        return [line["log"] for line in self.lines if "log" in line]

    def test_old_entry_is_not_new_when_a_newer_one_is_deleted(self):
        for make in [rss, dated]:
            reader = self.started(count=80)
            self.assertEqual(self.ids(make(*range(150, 0, -1)), reader), [])
            self.assertEqual(self.logged(), [self.url + " has 150 entries; not read: the oldest 50"])
            self.assertEqual(self.ids(make(*range(149, 0, -1)), reader), [])
            self.assertEqual(self.logged(), [], "it is logged once")
            self.assertEqual(self.ids(make(*range(148, 0, -1)), self.started(cursor=self.cursor(), count=80)), [])
            # All that are known are deleted but one.
            self.assertEqual(self.ids(make(151, *range(60, 0, -1)), self.started(cursor=self.cursor(), count=80)), ["g151"])

    def test_old_entries_are_not_new_when_more_are_read(self):
        for count in [200, 100, 1]:
            for make in [rss, dated]:
                self.ids(make(*range(50, 0, -1)), self.started(count=400))
                reader = self.started(cursor=self.cursor(), count=count)
                self.assertEqual(self.ids(make(*range(52, 0, -1)), reader), ["g51", "g52"])
                self.assertEqual(self.ids(make(*range(53, 0, -1)), reader), ["g53"])

    def test_old_entries_are_not_new_when_entries_no_longer_share_a_guid(self):
        same = [item("Number %d" % n, "<guid>%d</guid>" % (n // 2)) for n in range(17, -1, -1)]
        reader = self.started(count=400)
        self.read(channel("".join(same)), reader)
        self.assertEqual(len(self.logged()), 1)
        self.assertLessEqual(len(self.cursor()["feeds"][self.url]), 20)
        self.assertEqual(self.read(channel("".join(same)) + " ", reader), [])
        # Fewer marks are needed, so more entries are read.
        alone = [item("Number %d" % n, "<guid>g%d</guid>" % n) for n in range(21, 17, -1)]
        self.assertEqual([entry["id"] for entry in self.read(channel("".join(alone + same[:12])), reader)], ["g18", "g19", "g20", "g21"])

    def test_entries_that_are_listed_oldest_first_are_read_from_the_end(self):
        reader = self.started(count=400)
        self.assertEqual(self.ids(dated(*range(1, 31)), reader), [])
        self.assertEqual(self.ids(dated(*range(1, 33)), reader), ["g31", "g32"])
        # One without a date does not turn the others round.
        undated = dated(*range(1, 34)).replace(b"<guid>g5</guid><pubDate>", b"<guid>g5</guid><pubDate>soon, ")
        self.assertEqual(self.ids(undated, reader), ["g33"])
        self.assertEqual(self.ids(dated(*range(34, 0, -1)), reader), ["g34"])
        # Those without an order, too.
        shuffled = list(range(1, 36))
        random.Random(1).shuffle(shuffled)
        self.assertEqual(self.ids(dated(*shuffled), reader), ["g35"])

    def test_entries_without_dates_that_are_listed_oldest_first_are_new_while_all_are_read(self):
        reader = self.started(count=400)
        self.ids(rss(*range(1, 18)), reader)
        for last in [18, 19, 20]:
            self.assertEqual(self.ids(rss(*range(1, last + 1)), reader), ["g%d" % last])
            self.assertEqual(self.logged(), [])
        self.assertEqual(self.ids(rss(*range(1, 22)), reader), [])
        self.assertEqual(self.logged(), [self.url + " has 21 entries; not read: the oldest 1"])

    def test_old_entries_that_a_publisher_adds_are_new_if_all_are_read(self):
        reader = self.started(count=80)
        self.ids(rss(*range(150, 80, -1)), reader)
        self.assertEqual(self.ids(rss(*range(150, 78, -1)), reader), ["g79", "g80"])
        self.assertEqual(self.ids(rss(*range(151, 0, -1)), reader), ["g151"])
        # The cursor holds that they were not all read, and then that they are.
        self.assertEqual(self.cursor()["cut"], [feeds.digest(self.url)])
        self.assertEqual(self.ids(rss(*range(151, 70, -1)), reader), [])
        self.assertEqual(self.cursor()["cut"], [])

    def test_cursor_of_an_earlier_version_prints_no_entries_that_were_out_of_reach(self):
        ids = {"newest first": range(31, 11, -1), "newest last": range(1, 21)}
        marks = {order: [feeds.digest("g%d" % n) for n in reversed(numbers)] for order, numbers in ids.items()}
        descending = self.started(cursor={"feeds": {self.url: marks["newest first"]}}, count=200)
        self.assertEqual(self.ids(dated(*range(33, 0, -1)), descending), ["g32", "g33"])
        for form in ["feeds", "seen"]:
            ascending = self.started(cursor={form: {self.url: marks["newest last"]}}, count=400)
            self.assertEqual(self.ids(dated(*range(1, 31)), ascending), [])
            self.assertEqual(self.ids(dated(*range(1, 32)), self.started(cursor=self.cursor(), count=400)), ["g31"])

    def test_feed_that_is_away_after_an_upgrade_prints_no_entries_that_were_out_of_reach(self):
        marks, away = [feeds.digest("g%d" % n) for n in range(20, 0, -1)], self.url + "away"
        setting = {"feeds": [self.url, away] + ["http://%d" % n for n in range(398)]}

        def read(cursor, feed, *documents):
            reader = feeds.Feeds({"input": setting, "cursor": cursor}, self.lines.append)
            self.lines.clear()
            for numbers in documents:
                Site.body = dated(*numbers)
                reader.read(feed)
            return [line["event"]["id"] for line in self.lines if "id" in line.get("event", {})]

        for form in ["feeds", "seen"]:
            self.assertEqual(read({form: {self.url: marks, away: marks}}, self.url, range(1, 31)), [])
            self.assertEqual(self.cursor()["uncertain"], [feeds.digest(away)])
            self.assertEqual(read(self.cursor(), self.url, range(1, 32)), ["g31"])
            # The other feed is back, after two starts. At first it lists nothing.
            self.assertEqual(read(self.cursor(), away, [], range(1, 31)), [])
            self.assertNotIn("uncertain", self.cursor())
            self.assertEqual(read(self.cursor(), away, range(1, 32)), ["g31"])

    def test_cursor_says_once_that_all_entries_are_read(self):
        reader = self.started(cursor={"feeds": {self.url: [feeds.digest("g1")]}})
        self.assertEqual(self.ids(rss(1), reader), [])
        self.assertEqual(self.cursor(), {"feeds": {self.url: [feeds.digest("g1")]}, "cut": []})
        self.ids(rss(1) + b" ", reader)
        self.assertEqual([line for line in self.lines if "cursor" in line], [])

    def test_cursor_changes_by_one_mark_for_each_entry_of_a_cut_feed(self):
        reader = self.started(count=400)
        self.ids(dated(*range(50, 0, -1)), reader)
        before = self.cursor()
        self.assertEqual(before["cut"], [feeds.digest(self.url)])
        self.ids(dated(*range(51, 0, -1)), reader)
        after = self.cursor()
        self.assertEqual((after["cut"], after["feeds"][self.url][:-1]), (before["cut"], before["feeds"][self.url][1:]))
        # The publisher fails for some time.
        self.ids(channel(""), reader)
        self.assertEqual([line for line in self.lines if "cursor" in line], [])
        self.assertEqual(reader.cursor(), after)

    def test_entry_with_only_a_content_is_not_printed_again_after_a_cursor_of_the_earlier_form(self):
        only = item("t", "<content:encoded>c</content:encoded>")
        earlier = {"seen": {self.url: [feeds.digest(feeds.digest("t\n"))]}}
        reader = self.started("emit", earlier)
        self.assertEqual(self.read(channel(only), reader), [])
        other = item("t", "<content:encoded>d</content:encoded>")
        self.assertEqual([entry["summary"] for entry in self.read(channel(other + only), reader)], ["d"])

    def test_remembered_entries_are_limited(self):
        reader = self.started()
        Site.body = rss(*range(feeds.REMEMBERED_MAX + 50))
        reader.read(self.url)
        self.assertEqual(len(reader.seen[self.url]), feeds.REMEMBERED_MAX)
        self.assertLess(len(json.dumps(reader.cursor())), 256 << 10)


if __name__ == "__main__":
    unittest.main()
