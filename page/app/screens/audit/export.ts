/** The export of the audit: all rows of a filter as a file. */

import { CallError, addressOf } from '../../api/call.ts';
import { parseJson } from '../../api/json.ts';
import type { Problem } from '../../api/types.ts';

export type Form = 'csv' | 'ndjson';

const MEDIA: Record<Form, string> = { csv: 'text/csv', ndjson: 'application/x-ndjson' };

/** Reads all rows, and hands them to the browser as a file. The node records the export once all of it was sent. */
export async function exportAudit(query: Record<string, unknown>, form: Form): Promise<void> {
  let text: string;
  let response: Response;
  try {
    const headers = { accept: MEDIA[form], 'ensue-page': '1' };
    response = await fetch(addressOf('GET /audit', undefined, query), { headers, credentials: 'same-origin', redirect: 'error' });
    text = await response.text();
  } catch {
    throw new CallError(null, 0);
  }
  if (!response.ok) throw new CallError(response.headers.get('content-type')?.includes('json') ? (parseJson(text) as Problem) : null, response.status);
  const address = URL.createObjectURL(new Blob([text], { type: MEDIA[form] }));
  const anchor = document.createElement('a');
  anchor.href = address;
  anchor.download = `audit.${form}`;
  anchor.click();
  URL.revokeObjectURL(address);
}
