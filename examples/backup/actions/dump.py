#!/usr/bin/env python3
"""Creates an archive of a folder: `<target>/<name>-<time>.tar.gz`, and `.sha256` next to it.

Reads {"name", "source", "target", "at"} from standard input, and prints {"archive", "sha256", "bytes", "files"}. The last member of
the archive is `MANIFEST.sha256`, with the checksum of each file. The archive gets its name only when it is complete and on disk.

Exit codes: 75 if a retry may succeed (a file was shortened or removed while it was read, or another dump is running), and 1 if not.
Anything other than a file, folder or link is skipped, with a line on standard error.
"""
import fcntl
import hashlib
import io
import json
import os
import stat
import sys
import tarfile
from datetime import datetime, timezone

MANIFEST = "MANIFEST.sha256"


class Later(Exception):
    """An obstacle that may be gone in some minutes."""


class Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file):
        self.file, self.hash = file, hashlib.sha256()

    def read(self, size=-1):
        data = self.file.read(size)
        self.hash.update(data)
        return data


def stamp(at):
    """Returns a time as it is written in the name of an archive."""
    parsed = datetime.fromisoformat(at.replace("Z", "+00:00"))
    return parsed.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def say(**line):
    """Reports the progress to the node, if it listens."""
    try:
        os.write(3, (json.dumps(line) + "\n").encode())
    except OSError:
        pass


def members(source):
    """Yields the path of everything below a folder, relative to it, in order."""
    def refuse(error):
        raise error
    for folder, folders, files in os.walk(source, onerror=refuse):
        folders.sort()
        for name in sorted(folders + files):
            yield os.path.relpath(os.path.join(folder, name), source)


def add(archive, full, path):
    """Adds one member. Returns the line of its checksum if it is a file."""
    mode = os.lstat(full).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
        archive.addfile(archive.gettarinfo(full, arcname=path))
        return None
    if not stat.S_ISREG(mode):
        print(f"skipped, because it is not a file, folder or link: {path}", file=sys.stderr)
        return None
    with open(full, "rb") as file:
        info = archive.gettarinfo(arcname=path, fileobj=file)
        # A second name of the same file is stored as a separate file, so that it can be restored alone.
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.fstat(file.fileno()).st_size
        hashed = Hashed(file)
        try:
            archive.addfile(info, hashed)
        except OSError as error:
            raise Later(f"{path} became shorter while it was read: {error}") from error
        if os.fstat(file.fileno()).st_size != info.size:
            # A log may grow at any time: the archive has the content that it had when it was opened.
            print(f"became longer while it was read: {path}", file=sys.stderr)
    return f"{hashed.hash.hexdigest()}  {path}\n"


def write(out, source):
    """Writes the archive. Returns the number of its files."""
    sums = []
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path in members(source):
            if path == MANIFEST:
                raise ValueError(f"{source} has a file {MANIFEST}, which is the name of the archive's own list: rename it")
            try:
                if line := add(archive, os.path.join(source, path), path):
                    sums.append(line)
            except FileNotFoundError as error:
                raise Later(f"{path} was removed while the archive was written") from error
            if len(sums) % 1000 == 999:
                say(message=f"{len(sums)} files")
        text = "".join(sums).encode("utf-8", "surrogateescape")
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o644
        archive.addfile(info, io.BytesIO(text))
    return len(sums)


def keep(path):
    """Flushes a file, or the names in a folder, to disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def digest(path):
    whole = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            whole.update(data)
    return whole.hexdigest()


def dump(name, source, target, at):
    if not os.path.isdir(source):
        raise ValueError(f"{source} is not a folder")
    if os.path.commonpath([os.path.realpath(source), os.path.realpath(target)]) == os.path.realpath(source):
        raise ValueError(f"{target} is in {source}: each archive would contain the earlier ones")
    archive = os.path.join(target, f"{name}-{stamp(at)}.tar.gz")
    lock = open(os.path.join(target, f".{name}.lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Later(f"another dump is writing to {target}") from error
    part = archive + ".part"
    try:
        with open(part, "wb") as out:
            files = write(out, source)
        keep(part)
        whole = digest(part)
        sums = archive + ".sha256"
        with open(sums + ".part", "w", encoding="utf-8") as out:
            out.write(f"{whole}  {os.path.basename(archive)}\n")
        keep(sums + ".part")
        os.replace(sums + ".part", sums)
        os.replace(part, archive)
        keep(target)
    finally:
        for left in (part, archive + ".sha256.part"):
            if os.path.exists(left):
                os.unlink(left)
    return {"archive": archive, "sha256": whole, "bytes": os.path.getsize(archive), "files": files}


if __name__ == "__main__":
    try:
        print(json.dumps(dump(**json.load(sys.stdin))))
    except Later as why:
        print(f"dump: {why}", file=sys.stderr)
        sys.exit(75)
    except (OSError, ValueError) as why:
        print(f"dump: {why}", file=sys.stderr)
        sys.exit(1)
