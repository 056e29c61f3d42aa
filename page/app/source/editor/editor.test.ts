import { StringStream } from '@codemirror/language';
import { Text } from '@codemirror/state';
import { expect, test } from 'vitest';
import { placeOf } from './found.ts';
import { language, type State } from './language.ts';

/** Returns the parts of a text that are of a kind. */
function parts(text: string, kind: string): string[] {
  const state: State = language.startState?.(2) as State;
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const stream = new StringStream(line, 2, 2);
    while (!stream.eol()) {
      stream.start = stream.pos;
      if (language.token(stream, state) === kind) found.push(stream.current());
      if (stream.pos === stream.start) throw new Error(`the language stops at ${line.slice(stream.pos)}`);
    }
  }
  return found;
}

const RULE = [
  'description: Reports "big" invoices.',
  'trigger: bill.invoice # the only one',
  'when: event.payload.amount > 100.0 && size(event.payload.id) == 2',
  'priority: 10',
  'with: { message: "${{ event.payload.id }}", deep: [a, true] }',
].join('\n');

test('keys, texts, numbers and comments of YAML have colors of their own', () => {
  expect(parts(RULE, 'propertyName')).toEqual(['description', 'trigger', 'when', 'priority', 'with', 'message', 'deep']);
  expect(parts(RULE, 'comment')).toEqual(['# the only one']);
  expect(parts(RULE, 'number')).toEqual(['100.0', '2', '10']);
  expect(parts(RULE, 'atom')).toEqual(['true']);
  expect(parts(RULE, 'string')[0]).toBe('Reports "big" invoices.');
});

test('a condition is an expression', () => {
  expect(parts(RULE, 'operator')).toEqual(['>', '&&', '==']);
  expect(parts(RULE, 'function')).toEqual(['size']);
  expect(parts(RULE, 'variableName')).toEqual(['event', 'payload', 'amount', 'event', 'payload', 'id', 'event', 'payload', 'id']);
});

test('a condition of several lines ends with its indentation, and an empty line does not end it', () => {
  const text = 'when: |\n  a == 1\n\n  && b\naction: core.echo\nif:\n  c\nwith: d';
  expect(parts(text, 'variableName')).toEqual(['a', 'b', 'c']);
  expect(parts(text, 'propertyName')).toEqual(['when', 'action', 'if', 'with']);
});

test('a text of several lines is a text, with expressions in it', () => {
  const text = 'script: |\n  key: ${{ params.to }} # no comment\n  echo\nqueue: q';
  expect(parts(text, 'propertyName')).toEqual(['script', 'queue']);
  expect(parts(text, 'variableName')).toEqual(['params', 'to']);
  expect(parts(text, 'expression')).toEqual(['${{', '}}']);
  expect(parts(text, 'comment')).toEqual([]);
});

test('a quoted text with an expression ends after its quote', () => {
  const text = 'with: { message: "to ${{ a }} and" }\nnext: 1';
  expect(parts(text, 'variableName')).toEqual(['a']);
  expect(parts(text, 'propertyName')).toEqual(['with', 'message', 'next']);
});

test('the place of a finding counts characters, and stays within the text', () => {
  const text = Text.of(['a: 😀b', 'c']);
  const at = (line: number, column: number, end_line: number, end_column: number) => placeOf(text, { line, column, end_line, end_column });
  expect(at(1, 5, 1, 6)).toEqual({ from: 5, to: 6 });
  expect(at(2, 1, 2, 1)).toEqual({ from: 7, to: 8 });
  expect(at(9, 9, 9, 9)).toEqual({ from: 8, to: 8 });
});
