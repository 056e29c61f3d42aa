// The form with which a reader tries a call: with the session of this browser, or with a token that is typed in.
'use strict';

const SHOWN_CHARS_MAX = 200_000;

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const token = element('input', { type: 'password', autocomplete: 'off', id: 'token' });
document.querySelector('nav').before(
  element('p', {}, element('label', {}, 'Token for calls from this page; without one, they have your session: ', token)),
);

/** The parameters of an operation: its table lists them. */
const parametersOf = (section) =>
  [...section.querySelectorAll('table.parameters tr')].slice(1).map(({ cells }) => ({ name: cells[0].textContent, place: cells[1].textContent }));

const formOf = (section) => {
  const { method, path, media } = section.dataset;
  const fields = parametersOf(section).map((parameter) => ({ ...parameter, input: element('input') }));
  const rows = fields.map(({ name, input }) => element('p', {}, element('label', {}, `${name} `, input)));
  const body = media === undefined ? null : element('textarea', { rows: 8, value: section.querySelector('pre.body')?.textContent ?? '' });
  if (body) rows.push(element('p', {}, element('label', {}, `Body (${media}) `, body)));
  const send = element('button', { textContent: `Send ${method}` });
  const stop = element('button', { type: 'button', textContent: 'Stop', hidden: true });
  const answer = element('pre', { className: 'answer', hidden: true });
  const form = element('form', {}, ...rows, send, ' ', stop, answer);
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const ends = new AbortController();
    const onStop = () => ends.abort();
    stop.addEventListener('click', onStop);
    // One call at a time: *Stop* ends the one that is under way.
    send.disabled = true;
    stop.hidden = false;
    answer.hidden = false;
    answer.textContent = '';
    try {
      const response = await fetch(targetOf(path, fields), { ...requestOf(method, media, fields, body), signal: ends.signal });
      answer.textContent = `${response.status} ${response.statusText}\n\n`;
      await show(response, answer);
    } catch (error) {
      answer.textContent += ends.signal.aborted ? '\n(stopped)' : String(error);
    } finally {
      send.disabled = false;
      stop.hidden = true;
      stop.removeEventListener('click', onStop);
    }
  });
  return form;
};

/** The path with its parameters, and the query of those that are filled in. */
const targetOf = (path, fields) => {
  const filled = fields.filter(({ place }) => place === 'path');
  const whole = filled.reduce((made, { name, input }) => made.replace(`{${name}}`, encodeURIComponent(input.value)), path);
  const query = new URLSearchParams();
  for (const { name, place, input } of fields) if (place === 'query' && input.value !== '') query.append(name, input.value);
  return query.size === 0 ? whole : `${whole}?${query}`;
};

const requestOf = (method, media, fields, body) => {
  const headers = new Headers();
  for (const { name, place, input } of fields) if (place === 'header' && input.value !== '') headers.set(name, input.value);
  if (token.value === '') headers.set('ensue-page', '1');
  else headers.set('authorization', `Bearer ${token.value}`);
  if (method !== 'GET') headers.set('content-type', media ?? 'application/json');
  return { method, headers, credentials: token.value === '' ? 'same-origin' : 'omit', ...(body && body.value !== '' ? { body: body.value } : {}) };
};

/** Shows an answer while it comes, because a stream does not end. JSON is laid out at its end. */
const show = async (response, answer) => {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
    text += part.value;
    if (text.length > SHOWN_CHARS_MAX) {
      answer.append('\n(the rest is left out)');
      return reader.cancel();
    }
    answer.append(part.value);
  }
  if (!/[/+]json/.test(response.headers.get('content-type') ?? '')) return;
  answer.textContent = `${response.status} ${response.statusText}\n\n${laidOut(text)}`;
};

const laidOut = (text) => {
  try {
    const parsed = JSON.parse(text);
    // JavaScript writes some numbers otherwise than they came, and such a text is shown as it is.
    return JSON.stringify(parsed) === withoutSpace(text) ? JSON.stringify(parsed, null, 2) : text;
  } catch {
    return text;
  }
};

/** The text of a JSON document without the white space between its parts. */
const withoutSpace = (text) => text.replace(/("(?:[^"\\]|\\.)*")|\s+/g, (_, string) => string ?? '');

for (const section of document.querySelectorAll('section[data-method]')) {
  const details = element('details', {}, element('summary', { textContent: 'Try it' }));
  details.addEventListener('toggle', () => details.append(formOf(section)), { once: true });
  section.append(details);
}
