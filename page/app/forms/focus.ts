/** Moves the focus to the first field with an error. */

import type { FieldError } from './model.ts';

export function focusFirst(within: HTMLElement | undefined, errors: readonly FieldError[]): void {
  const wrong = new Set(errors.map((error) => error.pointer));
  const fields = [...(within?.querySelectorAll<HTMLElement>('[data-pointer]') ?? [])];
  fields.find((field) => wrong.has(field.dataset.pointer ?? ''))?.focus();
}
