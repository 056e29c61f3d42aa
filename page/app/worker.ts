/** The shared worker: one stream for all tabs of this browser. */

import { ChangeStream, type Asked, type Told } from './api/stream.ts';

/** A hidden tab sends a ping a minute at least. */
const SILENT_MS = 180_000;

interface Tab {
  port: MessagePort;
  kinds: string[];
  heardAt: number;
}

const tabs = new Set<Tab>();
const stream = new ChangeStream((told) => {
  for (const tab of tabs) tab.port.postMessage(told);
});

function want(after?: number): void {
  stream.want(
    [...tabs].flatMap((tab) => tab.kinds),
    after,
  );
}

setInterval(() => {
  for (const tab of tabs) if (Date.now() - tab.heardAt > SILENT_MS) tabs.delete(tab);
  want();
}, 30_000);

addEventListener('connect', (event) => {
  const port = (event as MessageEvent).ports[0];
  if (!port) return;
  const tab: Tab = { port, kinds: [], heardAt: Date.now() };
  tabs.add(tab);
  port.onmessage = ({ data }: MessageEvent<Asked>) => {
    tab.heardAt = Date.now();
    tabs.add(tab);
    if (typeof data !== 'string') {
      tab.kinds = data.kinds;
      want(data.after);
      return;
    }
    if (data === 'bye') tabs.delete(tab);
    else if (data === 'wake') stream.wake();
    want();
  };
  port.postMessage({ kind: 'line', line: stream.line } satisfies Told);
});
