/** What is on the node whose screens are kept as pictures, and which screens those are. */

import type { Node } from '../support/node.ts';

interface Execution {
  id: string;
  status: string;
  ended_at: string | null;
  waits_for: { kind: string } | null;
}

/** Runs an action, and waits until it has ended or waits for something. */
async function run(node: Node, action: string, params: object = {}): Promise<string> {
  const { id } = await node.ask<Execution>('POST', `/actions/${action}/execute`, { params });
  await node.until(async () => {
    const { ended_at, waits_for } = await node.ask<Execution>('GET', `/executions/${id}`);
    if (ended_at) return true;
    if (waits_for?.kind !== 'steps') return waits_for ? true : undefined;
    const { items } = await node.ask<{ items: Execution[] }>('GET', `/executions?parent=${id}`);
    return items.some((step) => step.waits_for) ? true : undefined;
  });
  return id;
}

/** Fills a node, one thing after another, so that lists have the same order each time. Returns the screens: their names and addresses. */
export async function filled(node: Node): Promise<Map<string, string>> {
  await node.ask('PUT', '/roles/shippers', { permissions: ['inquiries:read', 'inquiries:answer'] });
  for (const [name, kind] of [['ana', 'person'], ['otto', 'person'], ['deploy-bot', 'service']]) await node.ask('POST', '/identities', { name, kind });
  await node.ask('POST', '/grants', { subject: 'identity:ana', role: 'operator', on: { packs: ['shop'] } });
  await node.ask('PUT', '/vars/shop.limits', { value: { most: 3, currency: 'EUR' } });
  await run(node, 'shop.print', { text: 'Order A-1039 is on its way.', lines: 2 });
  const failed = await run(node, 'mill.line', { order: 'A-1040', fails: true });
  await run(node, 'mill.line', { order: 'A-1041', fails: false });
  await run(node, 'night.broken', { order: 'A-1038' });
  await run(node, 'night.deploy', { site: 'north' });
  await run(node, 'night.deploy', { site: 'north' });
  await node.order('A-1042', 'Leave it at the door, please.');
  const { id: inquiry, parent } = await node.question('A-1042');
  await node.order('A-1043', 'As soon as you can.');
  await node.question('A-1043');
  const { event } = await node.ask<{ event: string }>('GET', `/executions/${parent}`);
  const invoice = { trigger: 'bill.invoice', payload: { id: 'A-1042', amount: 99.5, note: 'not urgent' } };
  const { id: judged } = await node.ask<{ id: string }>('POST', '/events', invoice);
  await node.until(async () => {
    const { items } = await node.ask<{ items: Execution[] }>('GET', '/executions?action=core.echo&limit=50');
    return items.some((one) => one.ended_at === null) || items.length === 0 ? undefined : true;
  });
  return new Map([
    ['inbox', '/ui/inbox'],
    ['question', `/ui/inbox/${inquiry}`],
    ['now', '/ui/now'],
    // Steps that begin at once have no order.
    ['executions', '/ui/executions?is_root=true'],
    ['execution', `/ui/executions/${failed}`],
    ['graph', `/ui/executions/${parent}?tab=graph&step=approve`],
    ['output', `/ui/executions/${failed}?tab=attempts`],
    ['why', `/ui/events/${judged}`],
    ['trace', `/ui/trace/${event}`],
    ['rules', '/ui/rules'],
    ['run', '/ui/actions/mill.line/run'],
    ['locks', '/ui/waiting?kind=lock'],
    ['people', '/ui/people'],
    ['packs', '/ui/packs'],
    ['hooks', '/ui/hooks'],
  ]);
}
