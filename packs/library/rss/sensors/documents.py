"""Reads the document of a feed: RSS of all versions, Atom 0.3 and 1.0, and JSON Feed.

Feeds in the wild have wrong character sets, undefined entities and broken XML. What a reader can repair without a guess
about the content is repaired: the document is read as XML first, and as tags with text between them if that fails.
"""

import calendar
import codecs
import datetime
import email.utils
import html
import html.entities
import json
import re
from xml.parsers import expat

# How much of a document may precede its first tag.
BEFORE_MAX = 64 << 10
NODES_MAX = 500_000
DEPTH_MAX = 200
# Python takes much longer for a number of many digits, or refuses it.
NUMBER_CHARS_MAX = 100
TIME_CHARS_MAX = 64

# Names without a prefix, whichever of these a feed declares.
CORE = {
    "http://www.w3.org/2005/atom",
    "http://purl.org/atom/ns#",
    "http://purl.org/rss/1.0/",
    "http://my.netscape.com/rdf/simple/0.9/",
    "http://my.netscape.com/publish/formats/rss-0.91.dtd",
    "http://channel.netscape.com/rdf/simple/0.9/",
    "http://backend.userland.com/rss2",
}
PREFIXES = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/rss/1.0/modules/content/": "content",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
}
ROOTS = ("rss", "rdf:rdf", "rdf", "feed", "channel")
ENTRIES = ("item", "entry")
# Elements of HTML without an end.
VOID = ("area", "br", "col", "embed", "hr", "img", "input", "meta", "source", "track", "wbr")

CHARSETS = re.compile(r"^(utf|iso8859|iso2022|cp\d|koi8|mac|gb|big5|euc|shift|johab|hz|latin|ascii|tis|ptcp|kz1048)")
WIDE_CHARSETS = re.compile(r"^(iso2022|gb|big5|euc|shift|johab|hz|cp932|cp949|cp950|utf_7|utf_16|utf_32)")
DECLARATION = re.compile(rb"<\?xml[^>]{0,400}?encoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(?:\[.*?\]\s*)?>", re.IGNORECASE | re.DOTALL)
CDATA, CDATA_END = "<![CDATA[", "]]>"
REFERENCE = re.compile(r"&(?:#([0-9]{1,8});|#[xX]([0-9a-fA-F]{1,7});|([A-Za-z][A-Za-z0-9]{0,40});)?")
LONG_REFERENCE = re.compile(r"&(?=#(?:[0-9]{9}|[xX][0-9a-fA-F]{8}))")
TAG = re.compile(r"<(/?)([A-Za-z_][A-Za-z0-9_:.-]{0,100})((?:[^<>\"']|\"[^\"<]*\"|'[^'<]*'){0,5000})>")
ATTRIBUTE = re.compile(r"(?<![A-Za-z0-9_:.-])([A-Za-z_][A-Za-z0-9_:.-]*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+))")
TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})(?:-([0-9]{2}))?(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]{1,9})?)?\s?(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?)?$"
)
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class Unreadable(Exception):
    """A feed that cannot be read, with the reason for people."""


def parse(data, kind=""):
    """Returns the title and the entries of a feed, those that the document lists first last."""
    if not data.strip():
        raise Unreadable("it is empty")
    text = decode(data, kind)
    if text.startswith("{"):
        return of_json(text)
    begin = re.search(r"<(?:\?xml|!DOCTYPE\s|rss[\s>]|(?:rdf:)?RDF[\s>]|feed[\s>]|channel[\s>]|[a-z]+:feed[\s>])", text[:BEFORE_MAX], re.IGNORECASE)
    if begin is None:
        raise Unreadable("it is neither RSS, Atom nor JSON Feed: it begins with %r" % text[:40])
    text = repair(text[begin.start():])
    try:
        root = Strict().read(text)
    except (expat.ExpatError, TooDeep) as error:
        root, why = Loose().read(text), error
    else:
        why = None
    top = next((node for node in root.children if node.name in ROOTS), None)
    if top is None:
        first = root.children[0].name if root.children else "nothing"
        if why is not None and first != "html":
            raise Unreadable("it is not XML: %s" % why)
        raise Unreadable("it is neither RSS, Atom nor JSON Feed: its root is <%s>" % first)
    if top.name == "feed":
        return top.text("title"), [of_atom(entry) for entry in reversed(top.all("entry"))]
    channel = top if top.name == "channel" else top.first("channel")
    if channel is None:
        if top.name == "rss":
            raise Unreadable("it is RSS without a channel")
        channel = Node("channel", {})
    # RSS 0.90 and 1.0 have the items beside the channel.
    items = channel.all("item") + (top.all("item") if top is not channel else [])
    return channel.text("title"), [of_rss(item) for item in reversed(items)]


def of_rss(item):
    guid = item.first("guid")
    identifier = item.text("guid") or item.attributes.get("rdf:about", "")
    link = item.link()
    if not link and guid is not None and guid.attributes.get("ispermalink", "true") == "true":
        link = identifier
    return {
        "id": identifier,
        "title": item.text("title"),
        "link": link,
        "published": item.text("pubdate") or item.text("dc:date"),
        "summary": item.text("description") or item.text("content:encoded"),
        "author": item.text("author") or item.text("dc:creator"),
    }


def of_atom(entry):
    author = entry.first("author")
    return {
        "id": entry.text("id"),
        "title": entry.text("title"),
        "link": entry.link(),
        "published": next(filter(None, map(entry.text, ("published", "issued", "created", "updated", "modified"))), ""),
        "summary": entry.text("summary") or entry.text("content"),
        "author": "" if author is None else author.text("name"),
    }


def of_json(text):
    try:
        feed = json.loads(text, parse_int=bound(int), parse_float=bound(float))
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is not JSON: %s" % error)
    if not str(feed.get("version", "")).startswith("https://jsonfeed.org/version/"):
        raise Unreadable("it is JSON, but no JSON Feed: it has no `version` of jsonfeed.org")
    items = feed.get("items")
    items = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return text_of(feed, "title"), [of_json_item(item) for item in reversed(items)]


def bound(read):
    """Returns a function that reads a number, unless it is too long."""

    def read_number(text):
        if len(text) > NUMBER_CHARS_MAX:
            raise Unreadable("it has a number of more than %d characters" % NUMBER_CHARS_MAX)
        return read(text)

    return read_number


def of_json_item(item):
    authors = item.get("authors")
    author = authors[0] if isinstance(authors, list) and authors else item.get("author")
    return {
        "id": text_of(item, "id"),
        "title": text_of(item, "title"),
        "link": text_of(item, "url") or text_of(item, "external_url"),
        "published": text_of(item, "date_published") or text_of(item, "date_modified"),
        "summary": text_of(item, "summary") or text_of(item, "content_text") or text_of(item, "content_html"),
        "author": text_of(author, "name") if isinstance(author, dict) else "",
    }


def text_of(values, name):
    """Returns a field that should be a text."""
    value = values.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return NOT_XML.sub("", value).strip() if isinstance(value, str) else ""


def sort(entries):
    """Returns the entries of a document with the newest last.

    Most publishers list the newest first, some list it last, and some list entries by something else. If the date of one
    entry cannot be read, the others show in which direction the document lists them.
    """
    listed = [(time_of(entry["published"]), entry) for entry in entries]
    times = [time for time, _ in listed if time is not None]
    rises = sum((one < other) - (one > other) for one, other in zip(times, times[1:]))
    if rises < 0:
        listed.reverse()
    if len(times) == len(listed):
        listed.sort(key=lambda pair: pair[0])
    return [entry for _, entry in listed]


def time_of(published):
    """Returns a date as seconds since 1970, or None if it cannot be read."""
    published = published.strip()
    if len(published) > TIME_CHARS_MAX:
        return None
    iso = TIME.match(published)
    try:
        if iso:
            *fields, sign, hours, minutes = iso.groups()
            year, month, day, hour, minute, second = (int(field or 0) for field in fields)
            ahead = (int(hours or 0) * 60 + int(minutes or 0)) * (-60 if sign == "-" else 60)
            fields = (year, month, day or 1, hour, minute, second)
        else:
            *fields, ahead = email.utils.parsedate_tz(published) or [None]
            fields = fields[:6]
        datetime.datetime(*fields[:5])
        # Programs without a date write one of the year 1 or of 1970.
        return calendar.timegm((*fields, 0, 0, 0)) - (ahead or 0) if fields[0] > 1970 else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def decode(data, kind):
    """Returns the text of a document. What it declares of its charset counts only as far as its bytes fit that."""
    for mark, name in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")):
        if data.startswith(mark):
            return trim(data[len(mark):].decode("utf-8", "replace") if name == "utf-8" else data.decode(name, "replace"))
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return trim(data.decode("utf-16", "replace"))
    for mark, name in ((b"<\x00?\x00", "utf-16-le"), (b"\x00<\x00?", "utf-16-be")):
        if data.lstrip(b"\x00 \r\n\t")[:4] == mark or data.startswith(mark):
            return trim(data.decode(name, "replace"))
    by_server, by_document = CHARSET.search(kind), DECLARATION.search(data[:BEFORE_MAX])
    named = [charset(by_server and by_server.group(1)), charset(by_document and by_document.group(1).decode("ascii"))]
    # Many servers name the charset that they are set to, whatever they send.
    if named[0] in ("cp1252", "ascii"):
        named.reverse()
    named = [name for name in named if name is not None]
    for name in [name for name in named if WIDE_CHARSETS.match(name)] + ["utf-8"] + named:
        try:
            return trim(data.decode(name))
        except (UnicodeError, LookupError):
            continue
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    wide = sum(1 for character in text if character > "\x7f") - broken
    return trim(text if wide >= broken else data.decode("cp1252", "replace"))


def charset(name):
    """Returns the codec of a charset's name, as browsers understand it, or None."""
    if not name:
        return None
    try:
        found = codecs.lookup(name).name.replace("-", "_")
    except (LookupError, ValueError):
        return None
    if found in ("iso8859_1", "ascii"):
        return "cp1252"
    if found == "gb2312":
        return "gb18030"
    return found if CHARSETS.match(found) else None


def trim(text):
    return text.lstrip("\ufeff\x00 \t\r\n")


def repair(text):
    """Makes a document XML as far as that needs no guess. Its own entities are dropped: a few bytes of them can become
    gigabytes."""
    text = re.sub(r"^<\?xml.*?\?>", "", text, count=1, flags=re.DOTALL)
    begin = re.search(r"<!DOCTYPE", text[:BEFORE_MAX], re.IGNORECASE)
    declared = begin and DOCTYPE.match(text, begin.start())
    if declared:
        text = text[: declared.start()] + text[declared.end():]
    return NOT_XML.sub("", outside_cdata(text, lambda piece: REFERENCE.sub(resolve, piece), lambda section: CDATA + section + CDATA_END))


def outside_cdata(text, change, written):
    """Changes what is outside of sections of plain text, and writes the sections again."""
    pieces, at = [], 0
    while (begin := text.find(CDATA, at)) >= 0 and (end := text.find(CDATA_END, begin)) >= 0:
        pieces += [change(text[at:begin]), written(text[begin + len(CDATA):end])]
        at = end + len(CDATA_END)
    pieces.append(change(text[at:]))
    return "".join(pieces)


def resolve(reference):
    """Returns a reference as XML knows it."""
    decimal, hexadecimal, name = reference.groups()
    if decimal or hexadecimal:
        code = int(decimal) if decimal else int(hexadecimal, 16)
        if 0x80 <= code < 0xA0:
            return html.unescape("&#%d;" % code)
        is_allowed = code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < 0x110000
        return "&#%d;" % code if is_allowed else "\ufffd"
    if name in ("amp", "lt", "gt", "quot", "apos"):
        return reference.group(0)
    known = html.entities.html5.get(name + ";") if name else None
    # What is not known is text. A single `&` is one, too.
    return "&amp;" + reference.group(0)[1:] if known is None else html.escape(known)


def unescape(text):
    """Returns a text with its references replaced. `repair` has bounded them, but for those in what only looks like a
    section of plain text, for example in a comment."""
    return html.unescape(LONG_REFERENCE.sub("&amp;", text))


class TooDeep(Unreadable):
    """Elements in elements in elements, as of tags that nobody ends."""


class Node:
    """An element."""

    __slots__ = ("name", "attributes", "children", "pieces", "is_closed")

    def __init__(self, name, attributes):
        self.name, self.attributes = name, attributes
        self.children, self.pieces, self.is_closed = [], [], False

    def all(self, name):
        return [child for child in self.children if child.name == name and child.is_closed]

    def first(self, name):
        return next((child for child in self.children if child.name == name), None)

    def text(self, name):
        """Returns the text of the first child of this name that has one, with that of everything in it."""
        for child in self.children:
            if child.name == name:
                found = child.whole()
                if found:
                    return found
        return ""

    def whole(self):
        pieces, left = [], [self]
        while left:
            node = left.pop()
            if isinstance(node, str):
                pieces.append(node)
            else:
                left.extend(reversed(node.pieces))
        return "".join(pieces).strip()

    def link(self):
        """Returns the text of a link of RSS, or the address of one of Atom."""
        links = [child for child in self.children if child.name == "link"]
        texts = (link.whole() for link in links)
        addresses = (link.attributes.get("href", "") for link in links if link.attributes.get("rel", "alternate") == "alternate")
        return next(filter(None, texts), "") or next(filter(None, addresses), "")


class Tree:
    """The elements of a document, with names in lower case and known prefixes."""

    def __init__(self):
        self.root = Node("", {})
        self.open = [self.root]
        # The places in `open` of the elements of each name.
        self.places = {}
        self.prefixes = {}
        self.count = 0

    def begin(self, name, attributes):
        self.count += 1
        if self.count > NODES_MAX:
            raise Unreadable("it has more than %d elements" % NODES_MAX)
        if len(self.open) > DEPTH_MAX:
            raise TooDeep("its elements are nested more than %d deep" % DEPTH_MAX)
        attributes = {key.lower(): value or "" for key, value in attributes}
        for key, value in attributes.items():
            if key.startswith("xmlns:"):
                self.prefixes[key[6:]] = value.strip().lower()
        node = Node(self.named(name.lower()), {self.named(key): value for key, value in attributes.items()})
        parent = self.open[-1]
        parent.children.append(node)
        parent.pieces.append(node)
        self.places.setdefault(node.name, []).append(len(self.open))
        self.open.append(node)

    def named(self, name):
        prefix, colon, local = name.partition(":")
        if not colon:
            return name
        space = self.prefixes.get(prefix, "")
        if space in CORE or (not space and prefix == "atom"):
            return local
        return PREFIXES.get(space, prefix) + ":" + local

    def say(self, text):
        self.open[-1].pieces.append(text)

    def end(self):
        node = self.open.pop()
        node.is_closed = True
        self.places[node.name].pop()

    def innermost(self, names):
        """Returns the place of the innermost open element of these names, or 0."""
        return max(self.places[name][-1] if self.places.get(name) else 0 for name in names)


class Strict:
    """Reads XML."""

    def read(self, text):
        tree = Tree()
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler = lambda name, given: tree.begin(name, zip(given[::2], given[1::2]))
        parser.EndElementHandler = lambda _: tree.end()
        parser.CharacterDataHandler = tree.say
        parser.EntityDeclHandler = refuse_entities
        parser.Parse(text, True)
        return tree.root


def refuse_entities(*_):
    raise Unreadable("it declares entities, which no feed needs")


class Loose:
    """Reads tags and texts, whether or not they are XML.

    Many publishers forget the end of an element. It ends with the one around it, and an entry also where the next one
    begins. An entry at which the document breaks off is left out: it may be half of one.

    Each step takes time only in proportion to what it passes, unlike Python's own parser of HTML.
    """

    def __init__(self):
        self.tree = Tree()

    def read(self, text):
        at, ends = 0, {}
        while (begin := text.find("<", at)) >= 0:
            self.tree.say(unescape(text[at:begin]))
            for opening, ending in (("<!--", "-->"), (CDATA, CDATA_END), ("<!", ">"), ("<?", ">")):
                if text.startswith(opening, begin):
                    break
            else:
                opening = ""
            if opening:
                # An end that is not there is looked for once.
                end = -1 if ends.get(ending) == -1 else text.find(ending, begin + len(opening))
                ends[ending] = end
                if end >= 0:
                    if opening == CDATA:
                        self.tree.say(text[begin + len(CDATA):end])
                    at = end + len(ending)
                    continue
            tag = TAG.match(text, begin)
            if tag is None:
                self.tree.say("<")
                at = begin + 1
                continue
            self.take(*tag.groups())
            at = tag.end()
        self.tree.say(unescape(text[at:]))
        return self.tree.root

    def take(self, closing, name, inside):
        name = name.lower()
        if closing:
            self.end_to((name,), self.tree.named(name) in ENTRIES + ROOTS)
            return
        if name in ENTRIES:
            # One entry is never in another one.
            self.end_to(ENTRIES)
        given = [(key, unescape(one or other or bare)) for key, one, other, bare in ATTRIBUTE.findall(inside)]
        if len(self.tree.open) > DEPTH_MAX:
            return
        self.tree.begin(name, given)
        if inside.endswith("/") or name in VOID:
            self.tree.end()

    def end_to(self, tags, is_far=True):
        """Ends the innermost element of these names, with all in it; within the same entry, unless it is one itself."""
        place = self.tree.innermost([self.tree.named(tag) for tag in tags])
        if place == 0 or (not is_far and self.tree.innermost(ENTRIES) > place):
            return
        while len(self.tree.open) > place:
            self.tree.end()
