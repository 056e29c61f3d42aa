// How the client of orval reaches the node.

import { SERVER, TOKEN } from "./scenario";

export async function ask<T>(path: string, options: RequestInit): Promise<T> {
  const headers = new Headers(options.headers);
  headers.set("Authorization", `Bearer ${TOKEN}`);
  const response = await fetch(new URL(path, SERVER), { ...options, headers });
  const text = await response.text();
  return { data: text === "" ? undefined : JSON.parse(text), status: response.status, headers: response.headers } as T;
}
