"""Tests of the program that checks addresses: its states, and checks of real servers."""

import http.server
import os
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sensors"))
import probes  # noqa: E402

TARGET = "https://shop.example.test/"


class States(unittest.TestCase):
    def setUp(self):
        self.lines, self.time, self.outcome = [], 1_000_000, None

    def started(self, cursor=None, **given):
        def check(_target, _timeout):
            if isinstance(self.outcome, str):
                raise probes.Failed(self.outcome)
            return self.outcome

        first = {"input": {"targets": [TARGET], **given}, "cursor": cursor}
        return probes.Probes(first, self.lines.append, check, lambda: self.time)

    def after(self, probe, outcome, seconds=60):
        self.outcome, before = outcome, len(self.lines)
        self.time += seconds
        probe.round()
        return [line["event"]["kind"] for line in self.lines[before:]]

    def test_target_is_down_after_three_failures_and_up_after_one_success(self):
        probe = self.started()
        self.assertEqual([self.after(probe, outcome) for outcome in [None, "no", "no", None, "no", "no"]], [[]] * 6)
        self.assertEqual(self.after(probe, "refused"), ["down"])
        self.assertEqual(self.lines[-1]["event"]["since"], probes.moment(1_000_000 + 5 * 60))
        self.assertEqual(self.after(probe, "refused"), [])
        self.assertEqual(self.after(probe, None), ["up"])
        self.assertEqual(self.lines[-1]["event"]["seconds"], 4 * 60)
        self.assertEqual(self.lines[-1]["cursor"], {"states": {}})

    def test_restart_reports_nothing_twice(self):
        probe = self.started(failures=1)
        self.assertEqual(self.after(probe, "refused"), ["down"])
        probe = self.started(self.lines[-1]["cursor"], failures=1)
        self.assertEqual((self.after(probe, "refused"), self.after(probe, None)), ([], ["up"]))

    def test_certificate_is_reported_once_and_again_after_it_was_renewed(self):
        day, probe = probes.DAY, self.started()
        first = self.time + 15 * day
        self.assertEqual(self.after(probe, first), [])
        self.assertEqual(self.after(probe, first, day), ["certificate_expiring"])
        self.assertEqual(self.lines[-1]["event"]["days"], 13)
        self.assertEqual(self.after(probe, first, day), [])
        self.assertEqual(self.after(probe, first + 90 * day), [])
        self.assertEqual(self.after(probe, first + 90 * day, 92 * day), ["certificate_expiring"])

    def test_target_that_is_written_wrong_is_logged(self):
        probes.Probes({"input": {"targets": ["shop", "tcp://a", "tcp://a:x", "ftp://a/", "tcp://a:1"]}}, self.lines.append)
        self.assertEqual(len(self.lines), 4)
        self.assertTrue(all("is not checked" in line["log"] for line in self.lines))


class Checks(unittest.TestCase):
    def test_http_server_is_up_if_its_status_is_below_400(self):
        class Site(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(int(self.path[1:]))
                self.send_header("Location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = "http://127.0.0.1:%d/" % server.server_port
        for status in ["200", "204", "302"]:
            self.assertIsNone(probes.check(url + status, 5))
        for status in ["404", "503"]:
            with self.assertRaisesRegex(probes.Failed, "it answered " + status):
                probes.check(url + status, 5)
        self.assertIsNone(probes.check("tcp://127.0.0.1:%d" % server.server_port, 5))
        with self.assertRaises(probes.Failed):
            probes.check("tls://127.0.0.1:%d" % server.server_port, 2)
        server.shutdown()
        server.server_close()

    def test_closed_port_is_down(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with self.assertRaisesRegex(probes.Failed, "refused"):
            probes.check("tcp://127.0.0.1:%d" % port, 5)


if __name__ == "__main__":
    unittest.main()
