/**
 * The editor of files. It is a file of its own, loaded when somebody tries a change.
 *
 * It lives in a shadow root: there its styles are constructed sheets, which the policy of the page allows. In the document
 * they would be a style element, which the policy refuses.
 */

import { defaultKeymap, history, historyKeymap, indentWithTab, insertNewlineKeepIndent } from '@codemirror/commands';
import { StreamLanguage } from '@codemirror/language';
import { EditorState } from '@codemirror/state';
import { EditorView, keymap, lineNumbers } from '@codemirror/view';
import type { PackFinding } from '../../api/types.ts';
import { found, placeOf, setFindings } from './found.ts';
import { language } from './language.ts';
import { looks, tokenTable } from './looks.ts';

export interface Given {
  text: string;
  /** Its name for readers. */
  label: string;
  /** The elements that say more about it, such as how to leave it. */
  describedBy: HTMLElement[];
  onchange: (text: string) => void;
  /** Whether Tab leaves the editor now, instead of indenting the line. */
  onfree: (isFree: boolean) => void;
}

export interface Editing {
  /** Replaces the text, unless it is the same. */
  setText: (text: string) => void;
  setFindings: (findings: readonly PackFinding[]) => void;
  /** Selects what a finding is about, and moves the focus there. */
  show: (finding: PackFinding) => void;
  close: () => void;
}

/**
 * Replaces what is selected by what is typed. A browser would keep the color of the selected text in a style attribute,
 * which the policy of the page refuses.
 */
function replaceSelection(event: InputEvent, view: EditorView): boolean {
  if (event.inputType !== 'insertText' || event.data === null || event.isComposing || view.state.selection.main.empty) return false;
  event.preventDefault();
  view.dispatch(view.state.replaceSelection(event.data), { userEvent: 'input.type', scrollIntoView: true });
  return true;
}

/** Opens an editor in an element. */
export function open(host: HTMLElement, given: Given): Editing {
  const root = host.shadowRoot ?? host.attachShadow({ mode: 'open' });
  const free = (isFree: boolean): void => {
    view.setTabFocusMode(isFree);
    given.onfree(isFree);
  };
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: given.text,
      extensions: [
        found,
        lineNumbers(),
        history(),
        keymap.of([
          // After Escape, Tab leaves the editor, until something is typed or the editor loses the focus.
          { key: 'Escape', run: () => (free(true), true), stopPropagation: true },
          { key: 'Enter', run: insertNewlineKeepIndent },
          indentWithTab,
          ...historyKeymap,
          ...defaultKeymap,
        ]),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ 'aria-label': given.label }),
        EditorView.domEventHandlers({ blur: () => free(false), beforeinput: replaceSelection }),
        EditorView.updateListener.of((update) => {
          if (!update.docChanged) return;
          free(false);
          given.onchange(update.state.doc.toString());
        }),
        StreamLanguage.define({ ...language, tokenTable }),
        looks,
      ],
    }),
  });
  // Ids do not lead out of a shadow root; elements do.
  view.contentDOM.ariaDescribedByElements = given.describedBy;
  return {
    setText(text) {
      if (text !== view.state.doc.toString()) view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
    },
    setFindings: (findings) => view.dispatch({ effects: setFindings.of(findings) }),
    show(finding) {
      const { from, to } = placeOf(view.state.doc, finding);
      view.focus();
      view.dispatch({ selection: { anchor: from, head: to }, scrollIntoView: true });
    },
    close: () => view.destroy(),
  };
}
