#!/usr/bin/env python3
"""Makes an archive of a folder: `<target>/<name>-<time>.tar.gz`, and `.sha256` beside it.

Reads {"name", "source", "target", "at"} from standard input, and prints {"archive", "sha256", "bytes", "files"}. The archive's last
member is `MANIFEST.sha256`, with the checksum of each file. It gets its name only when it is whole and on the disk.

Exit codes: 75 where it may go well later (a file became shorter or went away while it was read, another dump is under way), 1 where it
will not. What is neither file, folder nor link is passed over, with a word on standard error.
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
    """What is in the way now, and perhaps not in some minutes."""


class Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file):
        self.file, self.hash = file, hashlib.sha256()

    def read(self, size=-1):
        data = self.file.read(size)
        self.hash.update(data)
        return data


def stamp(at):
    """Gives a time as it stands in the name of an archive."""
    parsed = datetime.fromisoformat(at.replace("Z", "+00:00"))
    return parsed.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def say(**line):
    """Tells the node how far it is, where one listens."""
    try:
        os.write(3, (json.dumps(line) + "\n").encode())
    except OSError:
        pass


def members(source):
    """Gives the path of each thing below a folder, relative to it, in order."""
    def refuse(error):
        raise error
    for folder, folders, files in os.walk(source, onerror=refuse):
        folders.sort()
        for name in sorted(folders + files):
            yield os.path.relpath(os.path.join(folder, name), source)


def add(archive, full, path):
    """Adds one thing, and gives the line of its checksum where it is a file."""
    mode = os.lstat(full).st_mode
    if stat.S_ISDIR(mode) or stat.S_ISLNK(mode):
        archive.addfile(archive.gettarinfo(full, arcname=path))
        return None
    if not stat.S_ISREG(mode):
        print(f"passed over, since it is no file, no folder and no link: {path}", file=sys.stderr)
        return None
    with open(full, "rb") as file:
        info = archive.gettarinfo(arcname=path, fileobj=file)
        # A second name of the same file is kept as a file of its own: it then can be restored alone.
        info.type, info.linkname, info.size = tarfile.REGTYPE, "", os.fstat(file.fileno()).st_size
        hashed = Hashed(file)
        try:
            archive.addfile(info, hashed)
        except OSError as error:
            raise Later(f"{path} became shorter while it was read: {error}") from error
        if os.fstat(file.fileno()).st_size != info.size:
            # A log is written to all the time: what it had when it was opened is kept.
            print(f"became longer while it was read: {path}", file=sys.stderr)
    return f"{hashed.hash.hexdigest()}  {path}\n"


def write(out, source):
    """Writes the archive, and gives how many files are in it."""
    sums = []
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path in members(source):
            if path == MANIFEST:
                raise ValueError(f"{source} has a file {MANIFEST}, which is the name of the archive's own list: rename it")
            try:
                if line := add(archive, os.path.join(source, path), path):
                    sums.append(line)
            except FileNotFoundError as error:
                raise Later(f"{path} was removed while the archive was made") from error
            if len(sums) % 1000 == 999:
                say(message=f"{len(sums)} files")
        text = "".join(sums).encode("utf-8", "surrogateescape")
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(text), 0o644
        archive.addfile(info, io.BytesIO(text))
    return len(sums)


def keep(path):
    """Puts a file, or the names in a folder, onto the disk."""
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
        raise ValueError(f"{source} is no folder")
    if os.path.commonpath([os.path.realpath(source), os.path.realpath(target)]) == os.path.realpath(source):
        raise ValueError(f"{target} lies in {source}: each archive would hold those before it")
    archive = os.path.join(target, f"{name}-{stamp(at)}.tar.gz")
    lock = open(os.path.join(target, f".{name}.lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Later(f"another dump writes into {target}") from error
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
