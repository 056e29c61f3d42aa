"""Trains a dictionary for bodies.

    npm pack @octokit/webhooks-examples && tar xzf octokit-*.tgz
    pip install zstandard
    python3 train.py package/api.github.com/index.json bodies-1.zdict
"""

import hashlib
import json
import random
import re
import sys

import zstandard

ORGANIZATIONS = ["acme", "initech", "globex", "hooli", "umbrella", "wayne", "stark", "wonka", "tyrell", "soylent", "aperture"]
REPOSITORIES = ["api", "web", "infra", "deploy", "shop", "billing", "docs", "mobile", "search", "auth", "gateway", "ledger"]
USERS = ["ada", "grace", "linus", "margaret", "dennis", "ken", "barbara", "edsger", "donald", "alan", "radia", "frances"]
COPIES = 2
BYTES = 32 * 1024


def scrambled(value, chance):
    """Replaces what differs between deliveries: numbers, hashes and times."""
    match value:
        case dict():
            return {key: scrambled(one, chance) for key, one in value.items()}
        case list():
            return [scrambled(one, chance) for one in value]
        case bool() | None:
            return value
        case int() if abs(value) > 9:
            digits = len(str(abs(value)))
            return chance.randint(10 ** (digits - 1), 10**digits - 1)
        case str() if re.fullmatch(r"[0-9a-f]{40}", value):
            return "".join(chance.choice("0123456789abcdef") for _ in range(40))
        case str() if re.match(r"\d{4}-\d\d-\d\dT", value):
            return re.sub(r"\d", lambda _: str(chance.randint(0, 9)), value)
        case _:
            return value


def main(source, target):
    samples = []
    for group in json.load(open(source)):
        for example in group["examples"]:
            for copy in range(COPIES):
                seed = f"{group['name']} {json.dumps(example)} {copy}".encode()
                chance = random.Random(hashlib.sha256(seed).hexdigest())
                text = json.dumps(scrambled(example, chance), separators=(",", ":"))
                organization, repository, user = chance.choice(ORGANIZATIONS), chance.choice(REPOSITORIES), chance.choice(USERS)
                for name in ["octo-org", "Octocoders", "octokit"]:
                    text = text.replace(name, organization)
                for name in ["Codertocat", "wolfy1339"]:
                    text = text.replace(name, user)
                samples.append(text.replace("Hello-World", repository).encode())
    dictionary = zstandard.train_dictionary(BYTES, samples, k=500, d=8, level=1)
    open(target, "wb").write(dictionary.as_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
