// The scenario with openapi-typescript and openapi-fetch.

import createClient from "openapi-fetch";

import type { components, paths } from "./made/fetch";
import { check, SERVER, TOKEN, until } from "./scenario";

async function main(): Promise<void> {
  const client = createClient<paths>({ baseUrl: SERVER, headers: { Authorization: `Bearer ${TOKEN}` } });

  const sent = await client.POST("/api/v1/events", { body: { trigger: "clients.built", payload: { version: "v1" } } });
  const event = sent.data?.id;
  const position = sent.data?.position;
  check(event !== undefined && position !== undefined, "an event that was sent has an id and a position");
  const header = { "Ensue-Position": position };

  const events = await client.GET("/api/v1/events", { params: { header, query: { trigger: ["clients.built"] } } });
  check(events.data?.items.some((item) => item.id === event) === true, "the event is listed");
  const executions = await client.GET("/api/v1/executions", { params: { header, query: { correlation: event } } });
  const execution = executions.data?.items.find((item) => item.action === "clients.ship");
  check(execution !== undefined, "its execution is listed");

  const inquiry = await until("the inquiry", async () => {
    const query = { parent: execution.id, mine: true } as const;
    return (await client.GET("/api/v1/inquiries", { params: { query } })).data?.items[0];
  });
  const path = { id: inquiry.id };
  const respond = "/api/v1/inquiries/{id}/respond";

  const blind = await client.POST(respond, { params: { path }, body: { answer: { ship: true } } });
  check(blind.error?.code === "digest_required", "an answer without the digest is rejected");
  const wrong = await client.POST(respond, { params: { path }, body: { answer: { ship: "perhaps" }, digest: inquiry.digest } });
  const problem: components["schemas"]["Problem"] | undefined = wrong.error;
  check(problem?.status === 422 && problem.code === "answer_invalid", "a wrong answer is a 422");
  check(problem.errors?.[0]?.pointer === "/answer/ship", "it points at what is wrong");
  const right = await client.POST(respond, { params: { path }, body: { answer: { ship: true }, digest: inquiry.digest } });
  check(right.data?.status === "answered", "the right answer is taken");

  const ended = await until("the end", async () => {
    const { data } = await client.GET("/api/v1/executions/{id}", { params: { path: { id: execution.id } } });
    return data?.ended_at == null ? undefined : data;
  });
  check(ended.status === "succeeded", "the execution succeeded");
  check(JSON.stringify(ended.result) === '{"said":"shipped v1"}', "it shipped");

  const trace = await client.GET("/api/v1/trace/{id}", { params: { path: { id: event } } });
  for (const node of trace.data?.nodes ?? []) {
    // The member `kind` distinguishes the variants.
    if (node.kind === "event") check(node.trigger === "clients.built", "the trace begins with the event");
  }
  check((trace.data?.nodes.length ?? 0) >= 3, "the trace has the event, the enforcement and the execution");
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
