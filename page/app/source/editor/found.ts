/** What a check found, at its place in the text, also after the text has changed. */

import { RangeSet, StateEffect, StateField, type EditorState, type Extension, type Text } from '@codemirror/state';
import { Decoration, EditorView, GutterMarker, gutter, type DecorationSet } from '@codemirror/view';
import type { PackFinding } from '../../api/types.ts';
import { ICONS, type IconName } from '../../parts/icons.ts';

const SVG = 'http://www.w3.org/2000/svg';

export interface Place {
  from: number;
  to: number;
}

interface Found extends Place {
  isError: boolean;
  message: string;
}

/** Returns the place of a line and column, both from 1. Columns count characters, and places count units of UTF-16. */
function placeAt(text: Text, line: number, column: number): number {
  const at = text.line(Math.min(Math.max(1, line), text.lines));
  return at.from + [...at.text].slice(0, Math.max(0, column - 1)).join('').length;
}

/** Returns the place of a finding. One without length covers the character after it. */
export function placeOf(text: Text, finding: Pick<PackFinding, 'line' | 'column' | 'end_line' | 'end_column'>): Place {
  const from = placeAt(text, finding.line, finding.column);
  const to = Math.max(from, placeAt(text, finding.end_line, finding.end_column));
  return { from, to: from === to ? Math.min(text.length, to + 1) : to };
}

export const setFindings = StateEffect.define<readonly PackFinding[]>();

class Mark extends GutterMarker {
  override readonly elementClass: string;

  constructor(readonly isError: boolean) {
    super();
    this.elementClass = isError ? 'found-error' : 'found-warning';
  }

  override eq(other: Mark): boolean {
    return other.isError === this.isError;
  }

  override toDOM(): Node {
    return iconOf(this.isError ? 'x' : 'alert');
  }
}

/** The editor draws its marks itself, so none of them is a component. */
function iconOf(name: IconName): Node {
  const [icon, path] = [document.createElementNS(SVG, 'svg'), document.createElementNS(SVG, 'path')];
  for (const [key, value] of Object.entries({ class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true', 'data-icon': name })) icon.setAttribute(key, value);
  path.setAttribute('d', ICONS[name]);
  icon.append(path);
  return icon;
}

/** Reserves the width of a mark, so that the text does not move when the first mark appears. */
class Spacer extends GutterMarker {
  override toDOM(): Node {
    return iconOf('x');
  }
}

const MARKS = { error: new Mark(true), warning: new Mark(false) };

const field = StateField.define<{ found: readonly Found[]; decorations: DecorationSet }>({
  create: () => ({ found: [], decorations: Decoration.none }),
  update({ found, decorations }, change) {
    let next = change.docChanged
      ? { found: found.map((one) => ({ ...one, from: change.changes.mapPos(one.from), to: change.changes.mapPos(one.to) })), decorations: decorations.map(change.changes) }
      : { found, decorations };
    for (const effect of change.effects) if (effect.is(setFindings)) next = placed(change.state.doc, effect.value);
    return next;
  },
  provide: (from) => [
    EditorView.decorations.from(from, ({ decorations }) => decorations),
    EditorView.contentAttributes.compute([from], (state) => ({ 'aria-invalid': String(state.field(from).found.some((one) => one.isError)) })),
  ],
});

function placed(text: Text, findings: readonly PackFinding[]): { found: Found[]; decorations: DecorationSet } {
  const found = findings
    .map((finding) => ({ ...placeOf(text, finding), isError: finding.severity === 'error', message: finding.message }))
    .sort((one, other) => one.from - other.from || one.to - other.to);
  const ranges = found
    .filter(({ from, to }) => from < to)
    .map(({ from, to, isError, message }) => Decoration.mark({ class: isError ? 'found-error' : 'found-warning', attributes: { title: message } }).range(from, to));
  return { found, decorations: Decoration.set(ranges, true) };
}

function marksOf(state: EditorState): RangeSet<GutterMarker> {
  const lines = new Map<number, Mark>();
  for (const { from, isError } of state.field(field).found) {
    const line = state.doc.lineAt(from).from;
    if (isError || !lines.has(line)) lines.set(line, isError ? MARKS.error : MARKS.warning);
  }
  return RangeSet.of([...lines].map(([line, mark]) => mark.range(line)), true);
}

/** Shows findings in the text and beside its lines. */
export const found: Extension = [field, gutter({ class: 'found', markers: (view) => marksOf(view.state), initialSpacer: () => new Spacer() })];
