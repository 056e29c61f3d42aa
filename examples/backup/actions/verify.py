#!/usr/bin/env python3
"""Restores an archive into its private folder, and compares each file with the list in the archive.

Reads {"archive", "sha256"} from standard input, and prints {"files"}. Exits with 1, and reports why, if anything differs.
"""
import hashlib
import json
import os
import sys
import tarfile
import tempfile

MANIFEST = "MANIFEST.sha256"


def digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            whole.update(data)
    return whole.hexdigest()


def expected(path):
    """Reads the list. Returns the checksum of each path."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        # A path may contain line breaks; a line that begins with a checksum and two spaces begins an entry.
        found, last = {}, None
        for line in file.read().split("\n"):
            if len(line) > 66 and line[64:66] == "  " and all(c in "0123456789abcdef" for c in line[:64]):
                last = line[66:]
                found[last] = line[:64]
            elif last is not None and line:
                found[last + "\n" + line] = found.pop(last)
                last = last + "\n" + line
    return found


def verify(archive, sha256):
    whole = digest(archive)
    if whole != sha256:
        raise ValueError(f"{archive} has the checksum {whole}, and was created with {sha256}")
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(archive, "r:gz") as file:
            file.extractall(folder, filter="tar")
        sums = expected(os.path.join(folder, MANIFEST))
        restored = set()
        for at, _, files in os.walk(folder):
            for name in files:
                full = os.path.join(at, name)
                if not os.path.islink(full) and os.path.isfile(full):
                    restored.add(os.path.relpath(full, folder))
        restored.discard(MANIFEST)
        if missing := sorted(set(sums) - restored):
            raise ValueError(f"{len(missing)} files are not in the archive, the first is {missing[0]}")
        if more := sorted(restored - set(sums)):
            raise ValueError(f"{len(more)} files are not in the archive's list, the first is {more[0]}")
        for path, was in sums.items():
            if (now := digest(os.path.join(folder, path))) != was:
                raise ValueError(f"{path} has the checksum {now}, and had {was}")
    return {"files": len(sums)}


if __name__ == "__main__":
    try:
        print(json.dumps(verify(**json.load(sys.stdin))))
    except (OSError, EOFError, ValueError, tarfile.TarError) as why:
        print(f"verify: {why}", file=sys.stderr)
        sys.exit(1)
