// Writes what a Rust build needs to know about `dist`: the hashes of its sources, and the list of its files.
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';

const sources = ['app', 'index.html', 'package.json', 'package-lock.json', 'vite.config.ts'];
const skipped = (path) => path === 'app/api/types.ts' || path.endsWith('.test.ts');

function* files(path) {
  if (!statSync(path).isDirectory()) {
    if (!skipped(path)) yield path;
    return;
  }
  for (const name of readdirSync(path).sort()) yield* files(`${path}/${name}`);
}

const hash = (path) => createHash('sha256').update(readFileSync(path)).digest('hex');
const hashes = (paths, name) => Object.fromEntries(paths.sort().map((path) => [name(path), hash(path)]));

const built = readdirSync('dist').filter((name) => name !== 'manifest.json').sort();
const manifest = {
  sources: hashes(sources.flatMap((path) => [...files(path)]), (path) => path),
  built: hashes(built.map((name) => `dist/${name}`), (path) => path.slice('dist/'.length)),
};
writeFileSync('dist/manifest.json', JSON.stringify(manifest, null, 1) + '\n');

const rows = built.map((name) => `    File { name: "${name}", bytes: include_bytes!("../dist/${name}") },\n`);
writeFileSync(
  'src/files.rs',
  `//! The files of \`dist\`. \`npm run build\` writes this list.\n\nuse crate::File;\n\n/// All files, by name.\npub const FILES: &[File] = &[\n${rows.join('')}];\n`,
);
