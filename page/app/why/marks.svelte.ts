/** The fields that the pointer or the focus is on, in the payload or in a condition. */

export class Marks {
  fields: ReadonlySet<string> = $state.raw(new Set());

  on(fields: readonly string[]): void {
    this.fields = new Set(fields);
  }

  off(): void {
    this.fields = new Set();
  }

  /** The pointer left a button. Its fields stay marked while it has the focus: after a tap, the page may scroll away from under the finger. */
  left(event: MouseEvent): void {
    if (event.currentTarget !== document.activeElement) this.off();
  }

  has(fields: readonly string[]): boolean {
    return fields.some((field) => this.fields.has(field));
  }
}
