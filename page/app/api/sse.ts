/** Reads Server-Sent Events from an answer. */

export interface SentEvent {
  id: string;
  event: string;
  data: string;
}

/** Splits text that arrives in pieces into events. */
export class EventParser {
  #rest = '';
  #event: SentEvent = { id: '', event: '', data: '' };
  #hasData = false;
  #hasId = false;

  /** Takes a piece of text, and returns the events that it completes. */
  take(text: string): SentEvent[] {
    this.#rest += text;
    const done: SentEvent[] = [];
    const lines = this.#rest.split(/\r\n|\n|\r/);
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') {
        // An id alone says how far the stream is.
        if (this.#hasData || this.#hasId || this.#event.event !== '') done.push(this.#event);
        this.#event = { id: this.#event.id, event: '', data: '' };
        [this.#hasData, this.#hasId] = [false, false];
        continue;
      }
      const at = line.indexOf(':');
      const field = at < 0 ? line : line.slice(0, at);
      const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
      if (field === 'data') {
        this.#event.data += this.#hasData ? `\n${value}` : value;
        this.#hasData = true;
      } else if (field === 'id') [this.#event.id, this.#hasId] = [value, true];
      else if (field === 'event') this.#event.event = value;
    }
    return done;
  }
}

/** Calls `take` with each event until the stream ends. */
export async function eachEvent(response: Response, take: (event: SentEvent) => void): Promise<void> {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  for (;;) {
    const piece = await reader?.read();
    if (!piece || piece.done) return;
    for (const event of parser.take(piece.value)) take(event);
  }
}
