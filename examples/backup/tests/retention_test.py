#!/usr/bin/env python3
"""Tests of the rule that selects backups, and of the actions: an archive is created, restored, checked for changes, and removed.

    python3 retention_test.py
"""
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timedelta, timezone

ACTIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "actions")
sys.dont_write_bytecode = True
sys.path.insert(0, ACTIONS)

from retention import keep  # noqa: E402

THURSDAY = datetime(2026, 1, 1, 3, tzinfo=timezone.utc)


def nights(count):
    return [THURSDAY + timedelta(days=day) for day in range(count)]


class Retention(unittest.TestCase):
    """Which times stay."""

    def test_a_week_of_nights_stays_and_before_it_the_last_of_each_week(self):
        kept = keep(nights(60), 7, 5)
        self.assertEqual(sorted(kept)[-7:], nights(60)[-7:])
        self.assertEqual([time.isoweekday() for time in sorted(kept)[:-7]], [7, 7, 7, 7])
        self.assertEqual(len({time.isocalendar()[:2] for time in kept}), 5)

    def test_of_several_in_a_day_the_last_stays(self):
        day = [THURSDAY + timedelta(hours=hour) for hour in (0, 5, 9)]
        self.assertEqual(keep(day, 1, 1), {day[2]})

    def test_days_without_a_backup_do_not_count(self):
        times = [THURSDAY, THURSDAY + timedelta(days=300)]
        self.assertEqual(keep(times, 2, 0), set(times))

    def test_the_newest_stays_whatever_is_asked(self):
        self.assertEqual(keep(nights(3), 0, 0), {nights(3)[2]})
        self.assertEqual(keep([], 7, 5), set())

    def test_a_week_over_the_turn_of_the_year_is_one(self):
        self.assertEqual(keep([THURSDAY - timedelta(days=1), THURSDAY], 0, 5), {THURSDAY})

    def test_what_is_kept_once_may_go_later_but_never_comes_back(self):
        alive = set()
        for night in nights(400):
            alive = keep(alive | {night}, 7, 5)
            self.assertLessEqual(len(alive), 12)
        self.assertEqual(len(alive), len(keep(nights(400), 7, 5)))

    def test_nonsense_is_refused(self):
        with self.assertRaises(ValueError):
            keep([THURSDAY], -1, 5)


class Archives(unittest.TestCase):
    """The programs, as the node starts them."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.source, self.target = os.path.join(folder.name, "source"), os.path.join(folder.name, "target")
        os.makedirs(os.path.join(self.source, "deep", "er"))
        os.mkdir(self.target)
        self.write("a", b"one")
        self.write("deep/er/b", os.urandom(100_000))
        self.write("deep/two\nlines", b"")
        os.symlink("a", os.path.join(self.source, "link"))
        os.link(os.path.join(self.source, "a"), os.path.join(self.source, "second"))
        os.symlink("deep", os.path.join(self.source, "linked folder"))
        os.mkfifo(os.path.join(self.source, "pipe"))

    def write(self, path, data):
        with open(os.path.join(self.source, path), "wb") as file:
            file.write(data)

    def run_program(self, program, given):
        ended = subprocess.run([os.path.join(ACTIONS, program)], input=json.dumps(given), capture_output=True, text=True, check=False)
        return (json.loads(ended.stdout) if ended.returncode == 0 else ended.stderr), ended.returncode

    def dump(self, at="2026-01-01T03:00:00Z", target=None):
        return self.run_program("dump.py", {"name": "t", "source": self.source, "target": target or self.target, "at": at})

    def test_an_archive_is_made_and_restored(self):
        made, _ = self.dump()
        self.assertEqual((made["files"], os.path.basename(made["archive"])), (4, "t-20260101T030000Z.tar.gz"))
        given = {"archive": made["archive"], "sha256": made["sha256"]}
        self.assertEqual(self.run_program("verify.py", given), ({"files": 4}, 0))
        self.assertEqual(subprocess.run(["sha256sum", "-c", "--quiet", made["archive"] + ".sha256"], cwd=self.target, check=False).returncode, 0)

    def test_one_byte_that_changed_is_found_out(self):
        made, _ = self.dump()
        with open(made["archive"], "r+b") as file:
            file.seek(made["bytes"] // 2)
            byte = file.read(1)
            file.seek(made["bytes"] // 2)
            file.write(bytes([byte[0] ^ 1]))
        said, code = self.run_program("verify.py", {"archive": made["archive"], "sha256": made["sha256"]})
        self.assertEqual(code, 1)
        self.assertIn("has the checksum", said)

    def test_what_cannot_be_kept_leaves_nothing_behind(self):
        self.write("MANIFEST.sha256", b"")
        said, code = self.dump()
        self.assertEqual((code, [file for file in os.listdir(self.target) if not file.startswith(".")]), (1, []))
        self.assertIn("rename it", said)
        said, code = self.dump(target=os.path.join(self.source, "deep"))
        self.assertEqual(code, 1)
        self.assertIn("is in", said)

    def test_another_dump_under_way_is_waited_for(self):
        with open(os.path.join(self.target, ".t.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            said, code = self.dump()
        self.assertEqual(code, 75)
        self.assertIn("another dump", said)

    def test_only_what_the_rule_lets_go_is_removed(self):
        for at in ("2026-01-01T03:00:00Z", "2026-01-02T03:00:00Z", "2026-01-02T09:00:00Z"):
            self.dump(at)
        with open(os.path.join(self.target, "other-20200101T000000Z.tar.gz"), "w", encoding="utf-8"):
            pass
        pruned, _ = self.run_program("prune.py", {"name": "t", "target": self.target, "days": 2, "weeks": 0})
        self.assertEqual(pruned["removed"], ["t-20260102T030000Z.tar.gz"])
        left = sorted(file for file in os.listdir(self.target) if not file.startswith("."))
        self.assertEqual([file for file in left if not file.endswith(".sha256")],
                         ["other-20200101T000000Z.tar.gz", "t-20260101T030000Z.tar.gz", "t-20260102T090000Z.tar.gz"])
        self.assertEqual(len(left), 5)


if __name__ == "__main__":
    unittest.main()
