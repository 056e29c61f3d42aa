/** The fields that the pointer or the focus is on, in the payload or in a condition. */

export class Marks {
  fields: ReadonlySet<string> = $state.raw(new Set());

  on(fields: readonly string[]): void {
    this.fields = new Set(fields);
  }

  off(): void {
    this.fields = new Set();
  }

  has(fields: readonly string[]): boolean {
    return fields.some((field) => this.fields.has(field));
  }
}
