"""The scenario with openapi-python-client."""

import importlib
import os
import pkgutil
import time

import ensue_client
from ensue_client import AuthenticatedClient
from ensue_client.api.events import event_list, event_send
from ensue_client.api.executions import execution_get, execution_list
from ensue_client.api.inquiries import inquiry_list, inquiry_respond
from ensue_client.api.trace import trace_get
from ensue_client.models import GivenEvent, InquiryResponse, Problem, SentEvents, TraceNodeEvent


def check(holds, what):
    if not holds:
        raise SystemExit(f"not so: {what}")


def until(what, asked):
    """Asks until there is an answer, for at most 20 seconds."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = asked()
        if found is not None:
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited 20 seconds for {what}")


# What is not asked below is at least loaded.
modules = [module.name for module in pkgutil.walk_packages(ensue_client.__path__, "ensue_client.")]
for module in modules:
    importlib.import_module(module)
check(len(modules) > 200, "every operation and every schema has a module")

client = AuthenticatedClient(base_url=os.environ["ENSUE_SERVER"], token=os.environ["ENSUE_TOKEN"])

sent = event_send.sync(client=client, body=GivenEvent(trigger="clients.built", payload={"version": "v1"}))
check(isinstance(sent, SentEvents), "the event is taken")

events = event_list.sync(client=client, trigger=["clients.built"], ensue_position=sent.position)
check(any(item.id == sent.id for item in events.items), "the event is listed")
executions = execution_list.sync(client=client, correlation=str(sent.id), ensue_position=sent.position)
execution = next(item for item in executions.items if item.action == "clients.ship")


def asked():
    listed = inquiry_list.sync(client=client, parent=str(execution.id), mine=True)
    return listed.items[0] if listed.items else None


inquiry = until("the inquiry", asked)


def respond(**answer):
    return inquiry_respond.sync_detailed(str(inquiry.id), client=client, body=InquiryResponse(**answer))


blind = respond(answer={"ship": True})
check(isinstance(blind.parsed, Problem) and blind.parsed.code == "digest_required", "an answer without the digest is rejected")
wrong = respond(answer={"ship": "perhaps"}, digest=inquiry.digest)
check(wrong.status_code == 422 and isinstance(wrong.parsed, Problem), "a wrong answer is a 422")
check(wrong.parsed.code == "answer_invalid", "it has a code")
check(wrong.parsed.errors[0].pointer == "/answer/ship", "it points at what is wrong")
right = respond(answer={"ship": True}, digest=inquiry.digest)
check(right.status_code == 200 and right.parsed.status == "answered", "the right answer is taken")


def over():
    shown = execution_get.sync(str(execution.id), client=client)
    return shown if shown.ended_at is not None else None


ended = until("the end", over)
check(ended.status == "succeeded", "the execution succeeded")
check(ended.result == {"said": "shipped v1"}, "it shipped")

nodes = trace_get.sync(str(sent.id), client=client).nodes
check(len(nodes) >= 3, "the trace has the event, the enforcement and the execution")
check(isinstance(nodes[0], TraceNodeEvent) and nodes[0].trigger == "clients.built", "the trace begins with the event")
