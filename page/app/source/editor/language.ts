/** Splits a pack's file into parts with colors: YAML, with expressions in it. It reads one line at a time, as the editor needs it. */

import type { StreamParser, StringStream } from '@codemirror/language';

/** The keys whose values are expressions, and not texts with expressions in them. */
const CONDITIONS = /^(when|if|while|until|for_each|dedupe|veto)$/;
const CONSTANT = /^(true|false|null)\b/;
const NUMBER = /^-?\d[\d_]*(\.\d+)?(e[-+]?\d+)?(?![\w-])/i;
const KEY = /^(?:"[^"]*"|'[^']*'|[\w.$/-]+)(?=\s*:(?:\s|$))/;

export interface State {
  /** What the text is: a value of YAML, an expression, or an expression within a text. */
  within: 'yaml' | 'condition' | 'template';
  /** What a template returns to. */
  around: 'yaml' | 'text';
  /** The quote that ends a text of YAML, or nothing. */
  quote: string;
  /** The indentation of the key whose value continues on the lines below it, or -1. */
  block: number;
  /** Whether that value is an expression or a text. */
  blockOf: 'condition' | 'text';
  /** The last key of the line. */
  key: string;
  indent: number;
}

export const language: StreamParser<State> = {
  name: 'pack',
  startState: () => ({ within: 'yaml', around: 'yaml', quote: '', block: -1, blockOf: 'text', key: '', indent: 0 }),
  copyState: (state) => ({ ...state }),
  token(stream, state) {
    if (stream.sol()) startLine(stream, state);
    if (stream.eatSpace()) return null;
    if (state.within === 'template') return template(stream, state);
    if (state.within === 'condition') return stream.match(/^#.*/) ? 'comment' : expression(stream);
    if (state.quote !== '') return quoted(stream, state);
    return state.around === 'text' ? text(stream, state) : yaml(stream, state);
  },
  languageData: { commentTokens: { line: '#' } },
};

function startLine(stream: StringStream, state: State): void {
  state.indent = stream.indentation();
  state.key = '';
  state.quote = '';
  const isBelow = state.block >= 0 && state.indent > state.block;
  // An empty line ends no block.
  if (state.block >= 0 && (isBelow || stream.match(/^\s*$/, false))) {
    if (state.within !== 'template') state.within = state.blockOf === 'condition' ? 'condition' : 'yaml';
    state.around = state.blockOf === 'text' ? 'text' : 'yaml';
    return;
  }
  Object.assign(state, { within: 'yaml', around: 'yaml', block: -1 });
}

function yaml(stream: StringStream, state: State): string | null {
  if (stream.match(/^#.*/)) return 'comment';
  if (stream.match(/^(---|\.\.\.)\s*$/)) return 'meta';
  if (stream.match(/^-(?=\s|$)/)) return 'punctuation';
  const key = stream.match(KEY);
  if (key && key !== true) {
    state.key = key[0].replace(/^["']|["']$/g, '');
    return 'propertyName';
  }
  if (stream.match(/^:(?=\s|$)/)) {
    if (stream.match(/^\s*[|>][+-]?\d?\s*$/, false)) Object.assign(state, { block: state.indent, blockOf: CONDITIONS.test(state.key) ? 'condition' : 'text' });
    else if (CONDITIONS.test(state.key)) Object.assign(state, { within: 'condition', block: state.indent, blockOf: 'condition' });
    return 'punctuation';
  }
  if (stream.match(/^[|>][+-]?\d?(?=\s*$)/)) return 'meta';
  if (stream.match('${{')) {
    state.within = 'template';
    return 'expression';
  }
  if (stream.match(/^["']/)) {
    state.quote = stream.current();
    return quoted(stream, state);
  }
  if (stream.match(/^[[\]{},]/)) return 'punctuation';
  if (stream.match(CONSTANT)) return 'atom';
  if (stream.match(NUMBER)) return 'number';
  return text(stream, state);
}

/** A text in quotes, up to its end or to the next expression in it. */
function quoted(stream: StringStream, state: State): string {
  if (stream.match('${{')) {
    state.within = 'template';
    return 'expression';
  }
  while (!stream.eol() && !stream.match('${{', false)) {
    if (state.quote === '"' && stream.match(/^\\./)) continue;
    if (state.quote === "'" && stream.match("''")) continue;
    if (stream.next() === state.quote) {
      state.quote = '';
      break;
    }
  }
  return 'string';
}

/** A text up to the next expression in it. A comment begins after a space. */
function text(stream: StringStream, state: State): string {
  if (stream.match('${{')) {
    state.within = 'template';
    return 'expression';
  }
  while (!stream.eol()) {
    if (stream.match('${{', false)) break;
    if (state.around === 'yaml' && (stream.match(/^\s+#/, false) || stream.match(/^[,\]}]/, false))) break;
    stream.next();
  }
  return 'string';
}

function template(stream: StringStream, state: State): string | null {
  if (!stream.match('}}')) return expression(stream);
  state.within = 'yaml';
  return 'expression';
}

function expression(stream: StringStream): string | null {
  if (stream.match(/^"(?:[^"\\]|\\.)*"?|^'(?:[^'\\]|\\.)*'?/)) return 'string';
  if (stream.match(CONSTANT)) return 'atom';
  if (stream.match(NUMBER)) return 'number';
  if (stream.match(/^[A-Za-z_]\w*(?=\s*\()/)) return 'function';
  if (stream.match(/^[A-Za-z_]\w*/)) return 'variableName';
  if (stream.match(/^(&&|\|\||[=!<>]=|[-+*/%<>!?:])/)) return 'operator';
  if (stream.match(/^[()[\]{},.]/)) return 'punctuation';
  stream.next();
  return null;
}
