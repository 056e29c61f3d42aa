import { localized, plural } from '../../words/localized.ts';

export const words = localized({
  packs: 'Packs',
  version: 'Version',
  installed: 'Installed',
  keys: 'Keys',
  permissions: 'Permissions',
  config: 'Configuration',
  digest: 'Digest',
  notTaken: 'The node did not take this version: it has errors. What was installed before still runs.',
  findings: 'Findings',
  noFindings: 'The check finds nothing.',
  at: (file: string, line: number) => `${file}:${line}`,
  files: 'Files',
  bytes: (count: number) => plural(count, 'byte', 'bytes'),
  executable: 'can be run',
  noFiles: 'It has no files that the node keeps.',
  rules: 'Rules of this pack',
}, 'screens/pack/words');
