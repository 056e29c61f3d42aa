/** JSON whose numbers are shown as they came, also those that a JavaScript number cannot hold. */

/** A number that loses digits as a JavaScript number. */
export class Exact {
  constructor(readonly source: string) {}
}

/** Only texts with long numbers need the slower way. */
const LONG_NUMBER = /\d{16}/;

export function parseJson(text: string): unknown {
  if (!LONG_NUMBER.test(text)) return JSON.parse(text);
  // TypeScript does not know the third argument yet; browsers without it show the rounded number.
  const revive = (_: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value !== 'number' || !context?.source || Number.isSafeInteger(value)) return value;
    return String(value) === context.source ? value : new Exact(context.source);
  };
  return JSON.parse(text, revive as (key: string, value: unknown) => unknown);
}

/** Writes a value as indented JSON. */
export function writeJson(value: unknown, indent = ''): string {
  if (value instanceof Exact) return value.source;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const inner = `${indent}  `;
  const parts = Array.isArray(value)
    ? value.map((item) => `${inner}${writeJson(item, inner)}`)
    : Object.entries(value).map(([name, item]) => `${inner}${JSON.stringify(name)}: ${writeJson(item, inner)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  return parts.length === 0 ? `${open}${close}` : `${open}\n${parts.join(',\n')}\n${indent}${close}`;
}
