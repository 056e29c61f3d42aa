import type { Translation } from '../../words/localized.ts';
import type { words } from './words.ts';

const de: Translation<typeof words> = {
  actions: 'Aktionen',
  run: 'Ausführen',
  executions: 'Ihre Ausführungen',
  pack: 'Paket',
  runner: 'Läuft als',
  queue: 'Warteschlange',
  priority: 'Priorität',
  timeout: 'Endet nach',
  onLost: 'Wenn ihr Worker verloren geht',
  onLostWhat: { ask: 'jemand entscheidet über das Ergebnis', fail: 'sie schlägt fehl', retry: 'sie läuft noch einmal' },
  idempotent: 'Zweimal ausführen schadet nicht.',
  labels: 'Labels',
  parameters: 'Parameter',
  noParameters: 'Sie nimmt keine Parameter.',
  required: 'nötig',
  byDefault: (value) => `Vorgabe: ${value}`,
  schema: 'Als JSON-Schema',
  templates: 'Vorlagen',
  useTemplate: (name) => `Mit ${name} ausführen`,
  steps: 'Schritte',
  after: (steps) => `nach ${steps}`,
  onlyIf: 'falls',
  forEach: 'für jedes von',
  result: 'Ergebnis',
  file: 'Datei',
  noFile: 'Der Knoten hat keine Datei mit diesem Namen.',
};

export default de;
