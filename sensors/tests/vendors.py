"""Signs and verifies deliveries with the packages of Slack, Square and Twilio. Reads lines of JSON, and answers each with one, as vendors.mjs does."""

import json
import sys
import time
from urllib.parse import parse_qs


def slack(asked):
    from slack_sdk.signature import SignatureVerifier

    verifier = SignatureVerifier(asked["key"])
    if asked.get("sign"):
        now = str(int(time.time()))
        signature = verifier.generate_signature(timestamp=now, body=asked["body"])
        return {"headers": {"x-slack-request-timestamp": now, "x-slack-signature": signature}}
    return {"valid": verifier.is_valid_request(asked["body"], asked["headers"])}


class Fields(dict):
    """The fields of a form, as the package of Twilio reads them from web frameworks."""

    def getlist(self, name):
        return self[name]


def twilio(asked):
    from twilio.request_validator import RequestValidator

    validator = RequestValidator(asked["key"])
    is_form = asked["type"] == "application/x-www-form-urlencoded"
    fields = Fields(parse_qs(asked["body"], keep_blank_values=True)) if is_form else Fields()
    if asked.get("sign"):
        signature = validator.compute_signature(asked["url"], fields)
        return {"headers": {"content-type": asked["type"], "x-twilio-signature": signature}}
    signed = fields if is_form else asked["body"]
    return {"valid": validator.validate(asked["url"], signed, asked["headers"]["x-twilio-signature"])}


def square(asked):
    from square.utils.webhooks_helper import verify_signature

    headers = {"signature_header": asked["headers"]["x-square-hmacsha256-signature"]}
    return {"valid": verify_signature(request_body=asked["body"], signature_key=asked["key"], notification_url=asked["url"], **headers)}


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"slack": slack, "square": square, "twilio": twilio}[asked["scheme"]](asked)), flush=True)
