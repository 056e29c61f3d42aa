// What both clients in TypeScript do the same way.

export const SERVER = demanded("ENSUE_SERVER");
export const TOKEN = demanded("ENSUE_TOKEN");

function demanded(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`not so: ${what}`);
}

/** Asks until there is an answer, for at most 20 seconds. */
export async function until<T>(what: string, asked: () => Promise<T | undefined>): Promise<T> {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const found = await asked();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`waited 20 seconds for ${what}`);
}
