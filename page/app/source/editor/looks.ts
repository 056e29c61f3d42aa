/** How the editor looks. Colors are those of the page: its properties reach into the shadow root. */

import { HighlightStyle, syntaxHighlighting } from '@codemirror/language';
import type { Extension } from '@codemirror/state';
import { EditorView } from '@codemirror/view';
import { Tag, tags } from '@lezer/highlight';

const expression = Tag.define();
const called = Tag.define();

/** Names of the language that are no tags of the library. */
export const tokenTable = { expression, function: called };

const colors = HighlightStyle.define([
  { tag: tags.propertyName, color: 'var(--code-key)' },
  { tag: tags.string, color: 'var(--code-string)' },
  { tag: [tags.number, tags.atom], color: 'var(--code-number)' },
  { tag: tags.comment, color: 'var(--text-soft)', fontStyle: 'italic' },
  { tag: [tags.operator, expression], color: 'var(--code-operator)' },
  { tag: called, color: 'var(--code-function)' },
  { tag: [tags.punctuation, tags.meta], color: 'var(--text-soft)' },
]);

const theme = EditorView.theme({
  '&': {
    border: '1px solid var(--line-strong)',
    borderRadius: 'var(--radius)',
    background: 'var(--ground-soft)',
    color: 'var(--text)',
    fontSize: 'var(--size-2)',
  },
  '&.cm-focused': { outline: '2px solid var(--focus)', outlineOffset: '1px' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '20px' },
  '.cm-content': { caretColor: 'var(--text)', padding: '5px 0', minWidth: '0' },
  '.cm-gutters': { background: 'none', color: 'var(--text-soft)', borderRight: '1px solid var(--line)' },
  '.found .cm-gutterElement': { padding: '0 4px' },
  // The styles of the page do not reach into the shadow root.
  '.found .icon': { width: '12px', height: '12px', verticalAlign: '-1px', fill: 'none', stroke: 'currentColor', strokeWidth: '3', strokeLinecap: 'round' },
  '.cm-gutterElement.found-error': { color: 'var(--danger)' },
  '.cm-gutterElement.found-warning': { color: 'var(--state-orange)' },
  '.cm-line .found-error': { textDecoration: 'underline wavy var(--danger)' },
  '.cm-line .found-warning': { textDecoration: 'underline wavy var(--state-orange)' },
});

export const looks: Extension = [theme, syntaxHighlighting(colors)];
