"""Sensors and actions of Ensue in Python: one file, no dependencies, Python 3.9 or newer.

Copy this file next to your program in the pack. A sensor:

    import ensue

    def watch(sensor):
        number = sensor.cursor or 0
        while sensor.sleep(1):
            number += 1
            sensor.emit({"number": number}, cursor=number)

    ensue.sensor(watch)

An action:

    import ensue

    def greet(action):
        action.progress(0.5, "thinking")
        return {"text": "Hello, " + action.input["name"]}

    ensue.action(greet)

What a program prints with `print` goes to its log and not into the protocol.
"""

import json
import os
import signal
import sys
import threading

__all__ = ["Action", "Failure", "Sensor", "action", "sensor"]


class Failure(Exception):
    """Ends the program with a message for people and an exit code, without a traceback."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


class Sensor:
    """A running sensor: what it was given, and what it can report."""

    def __init__(self, first, output):
        #: The `input` of the sensor's file.
        self.input = first.get("input")
        #: The cursor after the newest event that is in the log, or None at the first start.
        self.cursor = first.get("cursor")
        #: Set when the sensor should end.
        self.stopped = threading.Event()
        self._output = output
        self._lock = threading.Lock()
        self._emitted = 0
        self._acked = 0
        self._is_acked = threading.Condition()

    def emit(self, event, cursor=None, time=None):
        """Reports an event, and returns its number: 1, 2, 3, …

        `cursor` is what the next start gets once the event is in the log: any JSON value. Without cursors, an event can
        come twice after a crash. `time` is when it happened, in RFC 3339. If the node is busy, this waits.
        """
        line = {"event": event}
        if cursor is not None:
            line["cursor"] = cursor
        if time is not None:
            line["time"] = time
        with self._lock:
            self._write(line)
            self._emitted += 1
            return self._emitted

    def log(self, text):
        """Writes a line into the sensor's log. It must hold no secret."""
        with self._lock:
            self._write({"log": str(text)})

    def report_failing(self, part, error):
        """Reports that a part of what the sensor reads, for example one of its feeds, cannot be read, and why.

        The sensor continues, and operators see the part until `report_running`. Call it at each try. The
        name may have 1,024 bytes, and neither it nor the error may hold a secret.
        """
        with self._lock:
            self._write({"part": str(part), "state": "failing", "error": str(error) or "it fails without a reason"})

    def report_running(self, part):
        """Reports that a part of what the sensor reads works. Call it for each part after a start, and at each try.

        A part that failed before the program was started fails until this is reported, also if it is no longer read.
        """
        with self._lock:
            self._write({"part": str(part), "state": "running"})

    def sleep(self, seconds):
        """Waits, and returns False at once when the sensor should end."""
        return not self.stopped.wait(seconds)

    @property
    def acked(self):
        """How many events are in the log."""
        return self._acked

    def wait_for_ack(self, number=None, timeout=None):
        """Waits until this event, or all of them, are in the log. Returns False if the time is over or the sensor should
        end."""
        wanted = self._emitted if number is None else number

        def is_over():
            return self._acked >= wanted or self.stopped.is_set()

        with self._is_acked:
            self._is_acked.wait_for(is_over, timeout)
            return self._acked >= wanted

    def stop(self):
        """Ends `sleep` and `wait_for_ack`."""
        self.stopped.set()
        with self._is_acked:
            self._is_acked.notify_all()

    def _write(self, line):
        self._output.write(_line(line))
        self._output.flush()

    def _listen(self, lines):
        for line in lines:
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict) and isinstance(said.get("ack"), int):
                with self._is_acked:
                    self._acked = max(self._acked, said["ack"])
                    self._is_acked.notify_all()
        # The node is gone.
        self.stop()


class Action:
    """A running action: what it was given, and what it can report."""

    def __init__(self, given, messages):
        #: The action's input: by default, its parameters.
        self.input = given
        #: The id of the execution.
        self.execution_id = os.environ.get("ENSUE_EXECUTION_ID")
        #: The number of the attempt, from 1.
        self.attempt = int(os.environ.get("ENSUE_ATTEMPT", "1"))
        #: The same for every attempt of the execution.
        self.idempotency_key = os.environ.get("ENSUE_IDEMPOTENCY_KEY")
        #: When the attempt's time is over, in RFC 3339.
        self.deadline = os.environ.get("ENSUE_DEADLINE")
        self._messages = messages
        self._lock = threading.Lock()

    def progress(self, done=None, message=None):
        """Reports progress: a number from 0 to 1, in words, or both."""
        self._say({key: value for key, value in (("progress", done), ("message", message)) if value is not None})

    def emit(self, trigger, payload):
        """Emits an event at once."""
        self._say({"emit": {"trigger": trigger, "payload": payload}})

    def artifact(self, path, name=None, media_type=None):
        """Keeps a file of the private directory as an artifact."""
        given = {"path": str(path), "name": name, "media_type": media_type}
        self._say({"artifact": {key: value for key, value in given.items() if value is not None}})

    def _say(self, line):
        if self._messages is None:
            return
        with self._lock:
            self._messages.write(_line(line))
            self._messages.flush()


def sensor(run):
    """Runs a sensor: `run` gets a Sensor. When it returns, the program ends with code 0."""
    output = _own_output()
    lines = sys.stdin.buffer
    first = json.loads(lines.readline() or b"{}")
    running = Sensor(first, output)
    signal.signal(signal.SIGTERM, lambda *_: running.stop())
    threading.Thread(target=running._listen, args=(lines,), daemon=True).start()
    _ended(lambda: run(running), lambda _: None)


def action(run):
    """Runs an action: `run` gets an Action, and what it returns is the result."""
    output = _own_output()
    given = json.loads(sys.stdin.buffer.read() or b"null")
    running = Action(given, _messages())

    def report(result):
        output.write(json.dumps(result, ensure_ascii=False, allow_nan=False).encode())
        output.flush()

    _ended(lambda: run(running), report)


def _own_output():
    """Keeps the standard output for the protocol. What the program prints goes to the log."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)
    return output


def _messages():
    """Opens descriptor 3, which a program has if it runs under Ensue."""
    try:
        return os.fdopen(3, "wb")
    except OSError:
        return None


def _line(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _ended(run, report):
    """Runs the program to its end. Threads that it left do not keep it from ending."""
    code = 0
    try:
        report(run())
    except Failure as failure:
        print(failure, file=sys.stderr)
        code = failure.code
    except BrokenPipeError:
        # Nobody reads any longer: the node is gone.
        code = 1
    except SystemExit:
        raise
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
