// The scenario with orval.

import { eventList, eventSend, executionGet, executionList, inquiryList, inquiryRespond, traceGet } from "./made/orval";
import { check, until } from "./scenario";

async function main(): Promise<void> {
  const sent = await eventSend({ trigger: "clients.built", payload: { version: "v1" } });
  check(sent.status === 202, "the event is taken");
  const { id: event, position } = sent.data;
  check(event !== undefined && position !== undefined, "an event that was sent has an id and a position");
  const seen = { headers: { "Ensue-Position": String(position) } };

  const events = await eventList({ trigger: ["clients.built"] }, seen);
  check(events.status === 200 && events.data.items.some((item) => item.id === event), "the event is listed");
  const executions = await executionList({ correlation: event }, seen);
  check(executions.status === 200, "executions are listed");
  const execution = executions.data.items.find((item) => item.action === "clients.ship");
  check(execution !== undefined, "its execution is listed");

  const inquiry = await until("the inquiry", async () => {
    const listed = await inquiryList({ parent: execution.id, mine: true });
    return listed.status === 200 ? listed.data.items[0] : undefined;
  });

  const blind = await inquiryRespond(inquiry.id, { answer: { ship: true } });
  check(blind.status === 428 && blind.data.code === "digest_required", "an answer without the digest is rejected");
  const wrong = await inquiryRespond(inquiry.id, { answer: { ship: "perhaps" }, digest: inquiry.digest });
  check(wrong.status === 422 && wrong.data.code === "answer_invalid", "a wrong answer is a 422");
  check(wrong.data.errors?.[0]?.pointer === "/answer/ship", "it points at what is wrong");
  const right = await inquiryRespond(inquiry.id, { answer: { ship: true }, digest: inquiry.digest });
  check(right.status === 200 && right.data.status === "answered", "the right answer is taken");

  const ended = await until("the end", async () => {
    const shown = await executionGet(execution.id);
    return shown.status !== 200 || shown.data.ended_at == null ? undefined : shown.data;
  });
  check(ended.status === "succeeded", "the execution succeeded");
  check(JSON.stringify(ended.result) === '{"said":"shipped v1"}', "it shipped");

  const trace = await traceGet(event);
  check(trace.status === 200 && trace.data.nodes.length >= 3, "the trace has the event, the enforcement and the execution");
  for (const node of trace.data.nodes) {
    if (node.kind === "event") check(node.trigger === "clients.built", "the trace begins with the event");
  }
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
