// Copies what was built to `dist`, and writes what a Rust build needs to know about it: the hashes of its sources, and
// the list of its files. A file that is the same is not touched, so that cargo does not build it again.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';

const BUILT = 'node_modules/.built';

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

function write(path, content) {
  const bytes = Buffer.from(content);
  if (!existsSync(path) || !readFileSync(path).equals(bytes)) writeFileSync(path, bytes);
}

const built = readdirSync(BUILT).sort();
for (const name of readdirSync('dist')) if (name !== 'manifest.json' && !built.includes(name)) rmSync(`dist/${name}`);
for (const name of built) write(`dist/${name}`, readFileSync(`${BUILT}/${name}`));
const manifest = {
  sources: hashes(sources.flatMap((path) => [...files(path)]), (path) => path),
  built: hashes(built.map((name) => `dist/${name}`), (path) => path.slice('dist/'.length)),
};
write('dist/manifest.json', JSON.stringify(manifest, null, 1) + '\n');

const rows = built.map((name) => `    File { name: "${name}", bytes: include_bytes!("../dist/${name}") },\n`);
write(
  'src/files.rs',
  `//! The files of \`dist\`. \`npm run build\` writes this list.\n\nuse crate::File;\n\n/// All files, by name.\npub const FILES: &[File] = &[\n${rows.join('')}];\n`,
);
