"""What is asked otherwise than the OpenAPI document alone would have it."""

import re
import uuid

import schemathesis
from hypothesis import strategies

METHODS = ("get", "post", "put", "patch", "delete")

# Only what the node gave out before is one of them, and no schema says that: a cursor is signed, an id of an event names a place in a
# stream, and a position that the log does not have yet is waited for and then a 503. The tests of the API forge them.
GIVEN_OUT = ("cursor", "Last-Event-ID", "Ensue-Position")

# Of the codings only gzip is read here: it is asked for with every request as it is.
UNREAD = ("Accept-Encoding",)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Leaves out the parameters whose values nobody can think of, or whose answers nobody can read."""
    for path in raw_schema["paths"].values():
        for method in METHODS:
            if method in path:
                parameters = path[method]["parameters"]
                path[method]["parameters"] = [one for one in parameters if one["name"] not in GIVEN_OUT + UNREAD]
                for one in path[method]["parameters"]:
                    if one["name"] == "If-Match":
                        one["schema"]["format"] = TAGS


# Headers are made of letters and digits alone where they have no format, and no tag is: without this what is sent as a valid `If-Match` is none.
TAGS = "tags"
TAG = strategies.from_regex(r'(W/)?"[!#-~]{0,30}"', fullmatch=True)
schemathesis.openapi.format(TAGS, strategies.just("*") | strategies.lists(TAG, min_size=1, max_size=3).map(", ".join))

KEY = re.compile(r'("[!#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})')


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives each request a key of its own where its key is well formed: the same one under two requests is a 422, as it should be."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and KEY.fullmatch(key):
        # On the prepared request: the case stays as it was made, as its checks go by that.
        kwargs["auth"] = fresh_key


def fresh_key(request):
    request.headers["Idempotency-Key"] = str(uuid.uuid4())
    return request
