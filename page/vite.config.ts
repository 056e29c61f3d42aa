import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

/** The node that `npm run dev` passes requests of the API on to. */
const node = process.env.ENSUE_SERVER ?? 'http://127.0.0.1:3678';

/** One file for each screen, one for what screens share, and one for the library. Names stay the same in every build. */
function partOf(id: string): string | null {
  // The editor is large. A browser loads it when somebody tries a change.
  if (/\/node_modules\/(@codemirror|@lezer|@marijn|style-mod|crelt|w3c-keyname)\/|\/app\/source\/editor\//.test(id)) return 'editor';
  if (id.includes('/node_modules/') || id.includes('\0')) return 'svelte';
  // German texts are loaded only where German is chosen.
  const german = /\/app\/(?:screens\/)?([^/]+)\/[^/]+\.de\.ts$/.exec(id);
  if (german) return `de-${german[1]}`;
  const screen = /\/app\/screens\/([^/]+)\/(?!index\.ts)/.exec(id);
  if (screen) return screen[1] ?? null;
  // What several screens about rules share is loaded with the first of them.
  const shared = /\/app\/(why|source)\//.exec(id);
  if (shared) return shared[1] ?? null;
  // The worker shares the stream with the page, and must not load the rest.
  if (/\/app\/api\/(stream|sse)\.ts$/.test(id)) return 'stream';
  if (id.endsWith('/app/main.ts') || id.endsWith('/app/worker.ts')) return null;
  return id.includes('/app/') && !id.endsWith('.html') ? 'parts' : null;
}

/** The settings of tests that drive a browser. */
const BROWSING = {
  environment: 'node',
  testTimeout: 60_000,
  hookTimeout: 60_000,
  expect: { poll: { timeout: 20_000 } },
  maxWorkers: 2,
} as const;

export default defineConfig({
  base: './',
  plugins: [svelte()],
  build: {
    // `scripts/manifest.mjs` copies to `dist` what differs from it.
    outDir: 'node_modules/.built',
    target: 'es2022',
    cssCodeSplit: false,
    modulePreload: false,
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 320,
    rolldownOptions: {
      input: { app: 'index.html', worker: 'app/worker.ts' },
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: 'app[extname]',
        codeSplitting: { includeDependenciesRecursively: false, groups: [{ name: partOf, debugName: 'parts' }] },
      },
    },
  },
  server: { proxy: { '/api': node } },
  test: {
    projects: [
      { extends: true, test: { name: 'units', include: ['app/**/*.test.ts'], environment: 'node' } },
      {
        extends: true,
        test: {
          name: 'journeys',
          // Pictures are compared at length only.
          include: ['tests/journeys/**/*.test.ts', ...(process.env['ENSUE_LOOKS'] ? ['tests/looks/**/*.test.ts'] : [])],
          sequence: { groupOrder: 0 },
          ...BROWSING,
        },
      },
      {
        extends: true,
        test: {
          name: 'screens',
          // These keep the cores busy. Beside a journey, its hidden pages starve: Chromium gives them a lower priority.
          include: ['tests/{access,attack,firefox}/**/*.test.ts'],
          sequence: { groupOrder: 1 },
          ...BROWSING,
        },
      },
      {
        extends: true,
        test: {
          name: 'speed',
          include: ['tests/speed/**/*.test.ts'],
          environment: 'node',
          testTimeout: 600_000,
          hookTimeout: 1_800_000,
          // What runs beside a measurement is part of it.
          maxWorkers: 1,
          fileParallelism: false,
        },
      },
    ],
  },
});
