/** A node with a million events. Its log is made once, and kept. */

import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { BINARY, Node } from '../support/node.ts';

const ROOT = resolve(import.meta.dirname, '../../..');
/** Two records for each event: one event in five leads to an execution. */
const RECORDS = 2_000_000;
const GIB = 1_073_741_824;
/** A workflow of 1,000 steps: 50 ranks of 20. */
const RANKS = 50;
const LANES = 20;

export const STEPS = RANKS * LANES;
export const FOLDER = resolve(process.env.ENSUE_SPEED_FOLDER ?? join(ROOT, 'target/page-speed'));

/** Starts a node on the log, which it makes if it is not there yet. */
export async function bigNode(): Promise<Node> {
  if (!existsSync(join(FOLDER, 'token')) || !existsSync(join(FOLDER, 'made'))) {
    execFileSync(BINARY, ['bench', 'log', '--records', String(RECORDS), '--folder', FOLDER], { stdio: 'inherit' });
    writeFileSync(join(FOLDER, 'made'), '');
  }
  const packs = join(FOLDER, 'page-packs');
  rmSync(packs, { recursive: true, force: true });
  cpSync(resolve(import.meta.dirname, '../packs'), packs, { recursive: true });
  cpSync(join(FOLDER, 'packs/bench'), join(packs, 'bench'), { recursive: true });
  writeSpeedPack(join(packs, 'speed'));
  writeFileSync(join(FOLDER, 'ensue.yaml'), `outputs:\n  attempt_max: ${GIB + 1_000_000}\n  quota: ${3 * GIB}\nlimits:\n  connections_per_address: 1000\n`);
  return Node.over(FOLDER, packs, readFileSync(join(FOLDER, 'token'), 'utf8').trim(), {});
}

function writeSpeedPack(pack: string): void {
  mkdirSync(join(pack, 'actions'), { recursive: true });
  writeFileSync(join(pack, 'pack.yaml'), 'name: speed\nversion: 0.1.0\ndescription: Made for a measurement.\nrequires: { packs: { core: ^0.1 } }\n');
  const steps = Array.from({ length: STEPS }, (_, at) => {
    const [rank, lane] = [Math.floor(at / LANES), at % LANES];
    const before = [lane, (lane + 1) % LANES].map((one) => `s${rank - 1}_${one}`);
    return `      s${rank}_${lane}: { action: core.noop${rank === 0 ? '' : `, needs: [${before.join(', ')}]`} }\n`;
  });
  writeFileSync(join(pack, 'actions/thousand.yaml'), `description: Has ${STEPS} steps.\nrun:\n  workflow:\n    steps:\n${steps.join('')}`);
  writeFileSync(
    join(pack, 'actions/loud.yaml'),
    `description: Prints a gibibyte.\nrun:\n  shell:\n    script: |\n      yes 'one of many lines of an output that is far too long to read' | head -c ${GIB}\n      echo; echo 'the last line'\n`,
  );
}
