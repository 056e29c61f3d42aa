/** A wall clock for nodes that differs from the machine's: libfaketime fakes it. */

import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where Debian and others install the library for programs with threads. */
function libfaketime(): string | null {
  const folders = ['/usr/lib', '/usr/lib64', '/usr/local/lib'].filter((folder) => existsSync(folder));
  const within = folders.flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  const places = [...folders, ...within].flatMap((folder) => ['faketime/libfaketimeMT.so.1', 'libfaketimeMT.so.1'].map((name) => join(folder, name)));
  return places.find((path) => existsSync(path)) ?? null;
}

export class WallClock {
  readonly #folder = mkdtempSync(join(tmpdir(), 'ensue-clock-'));

  private constructor(private readonly library: string) {
    this.isOffBy(0);
  }

  /** Returns a clock; null if libfaketime is not installed, which only CI does not accept. */
  static make(): WallClock | null {
    const library = libfaketime();
    if (library === null && process.env.CI === 'true') throw new Error('libfaketime is not installed');
    return library === null ? null : new WallClock(library);
  }

  /** What a node is started with to see this clock. The monotonic clock stays the kernel's. */
  get variables(): Readonly<Record<string, string>> {
    return {
      LD_PRELOAD: this.library,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_DONT_RESET: '1',
    };
  }

  /** Sets the offset from the machine's clock. */
  isOffBy(seconds: number): void {
    const beside = `${this.#file}.new`;
    writeFileSync(beside, `${seconds < 0 ? '' : '+'}${seconds}\n`);
    renameSync(beside, this.#file);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  get #file(): string {
    return join(this.#folder, 'faketime');
  }
}
