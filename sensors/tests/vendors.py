"""Signs and verifies deliveries with the package of Slack. Reads lines of JSON, and answers each with one, as vendors.mjs does."""

import json
import sys
import time

from slack_sdk.signature import SignatureVerifier

for line in sys.stdin:
    asked = json.loads(line)
    verifier = SignatureVerifier(asked["key"])
    if asked.get("sign"):
        now = str(int(time.time()))
        signature = verifier.generate_signature(timestamp=now, body=asked["body"])
        answer = {"headers": {"x-slack-request-timestamp": now, "x-slack-signature": signature}}
    else:
        answer = {"valid": verifier.is_valid_request(asked["body"], asked["headers"])}
    print(json.dumps(answer), flush=True)
