"""The requests that differ from those that Schemathesis would generate from the OpenAPI document alone."""

import re
import uuid

import schemathesis
from hypothesis import strategies

METHODS = ("get", "post", "put", "patch", "delete")

# Only values that the node has issued are valid here, which no schema states: a cursor is signed, the id of an event names a place in a
# stream, and the node waits for a position that the log does not have yet, and then answers 503. The tests of the API forge them.
GIVEN_OUT = ("cursor", "Last-Event-ID", "Ensue-Position")

# Only gzip can be decoded here, and every request accepts it anyway.
UNREAD = ("Accept-Encoding",)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Removes the parameters whose values cannot be generated, or whose answers cannot be decoded."""
    for path in raw_schema["paths"].values():
        for method in METHODS:
            if method in path:
                parameters = path[method]["parameters"]
                path[method]["parameters"] = [one for one in parameters if one["name"] not in GIVEN_OUT + UNREAD]
                for one in path[method]["parameters"]:
                    if one["name"] == "If-Match":
                        one["schema"]["format"] = TAGS


# Without a format, headers are generated from letters and digits only, and no tag is valid then: a generated `If-Match` would be invalid.
TAGS = "tags"
TAG = strategies.from_regex(r'(W/)?"[!#-~]{0,30}"', fullmatch=True)
schemathesis.openapi.format(TAGS, strategies.just("*") | strategies.lists(TAG, min_size=1, max_size=3).map(", ".join))

KEY = re.compile(r'("[!#-\[\]-~]{1,255}"|[!#-\[\]-~]{1,255})')


@schemathesis.hook
def before_call(context, case, kwargs):
    """Replaces a well-formed key by a fresh one for each request: the same key for two requests is a 422, as it should be."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and KEY.fullmatch(key):
        # On the prepared request: the case stays as it was generated, because its checks use it.
        kwargs["auth"] = fresh_key


def fresh_key(request):
    request.headers["Idempotency-Key"] = str(uuid.uuid4())
    return request


TARGET_BYTES_MAX = 8192


@schemathesis.check
def only_long_targets_are_too_long(context, response, case):
    """Fails if a request is rejected for the length of its path and query although they are no longer than the limit."""
    target = response.request.path_url.encode()
    assert response.status_code != 414 or len(target) > TARGET_BYTES_MAX, f"a target of {len(target)} bytes is rejected as too long"
