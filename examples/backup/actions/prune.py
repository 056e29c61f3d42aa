#!/usr/bin/env python3
"""Removes archives that are no longer needed.

Reads {"name", "target", "days", "weeks"} from standard input, and prints {"kept", "removed"}. It considers only files
that are named like the archives of `dump.py`. `retention.py` has the rule.
"""
import json
import os
import re
import sys
from datetime import datetime, timezone

from retention import keep


def prune(name, target, days, weeks):
    pattern = re.compile(re.escape(name) + r"-(\d{8}T\d{6}Z)\.tar\.gz")
    found = {}
    for file in sorted(os.listdir(target)):
        if match := pattern.fullmatch(file):
            found[file] = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    wanted = keep(found.values(), days, weeks)
    removed = [file for file, time in found.items() if time not in wanted]
    for file in removed:
        # The archive is removed first: a checksum without an archive misleads nobody.
        os.unlink(os.path.join(target, file))
        if os.path.exists(beside := os.path.join(target, file + ".sha256")):
            os.unlink(beside)
    return {"kept": [file for file in found if file not in removed], "removed": removed}


if __name__ == "__main__":
    try:
        print(json.dumps(prune(**json.load(sys.stdin))))
    except (OSError, ValueError) as why:
        print(f"prune: {why}", file=sys.stderr)
        sys.exit(1)
