/** Keys for writes: the same write has the same key, so that a second press or a lost answer does it once. */

import { newKey } from './call.ts';
import { writeJson } from './json.ts';

export class Once {
  #body = '';
  #key = newKey();

  /** Returns the key for a write with this body. Another body is another write. */
  keyFor(body: unknown): string {
    const text = writeJson(body);
    if (text !== this.#body) {
      this.#body = text;
      this.#key = newKey();
    }
    return this.#key;
  }

  /** The write is done: the next one is another. */
  done(): void {
    this.#body = '';
  }
}
