/** The address and the screen. The only file that touches `history`: filters live in the address and nowhere else. */

export const BASE = '/ui';

export interface Place {
  /** The path below `/ui`: `/executions/42`. */
  path: string;
  query: URLSearchParams;
  /** Without `#`. */
  hash: string;
}

export function placeOf(url: URL): Place {
  const path = url.pathname.startsWith(BASE) ? url.pathname.slice(BASE.length) : url.pathname;
  return { path: path.replace(/\/+$/, '') || '/', query: url.searchParams, hash: url.hash.slice(1) };
}

/** Returns the parts of a path that a pattern names (`/inbox/:id`), or null if the path is not of that form. */
export function matched(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split('/');
  const given = path.split('/');
  const named: Record<string, string> = {};
  for (const [at, part] of wanted.entries()) {
    if (part.startsWith(':') && part.endsWith('*')) {
      named[part.slice(1, -1)] = decoded(given.slice(at).join('/'));
      return given.length > at ? named : null;
    }
    const there = given[at];
    if (there === undefined) return null;
    if (part.startsWith(':') && there !== '') named[part.slice(1)] = decoded(there);
    else if (part !== there) return null;
  }
  return wanted.length === given.length ? named : null;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Returns the address of a screen. Empty values are left out. */
export function link(path: string, query: Record<string, string | undefined> = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '');
  const text = new URLSearchParams(given).toString();
  return `${BASE}${path}${text && `?${text}`}`;
}

/** Returns an address only if it is one of the page's own, so that no link leads to another site. */
export function ownAddress(given: string | null): string {
  return given !== null && /^\/ui(\/[A-Za-z0-9\-_.~%/]*)?([?#][\x21-\x7e]*)?$/.test(given) && !given.includes('//') && !given.includes('\\')
    ? given
    : `${BASE}/`;
}

/** What history keeps of a place: the element that had the focus. */
interface Kept {
  focus?: string;
}

class Router {
  place: Place = $state.raw({ path: '/', query: new URLSearchParams(), hash: '' });
  /** The element to focus after going back. */
  focus: string | null = null;

  start(): void {
    this.place = placeOf(new URL(location.href));
    addEventListener('popstate', (event) => {
      this.focus = (event.state as Kept | null)?.focus ?? null;
      this.place = placeOf(new URL(location.href));
    });
    document.addEventListener('click', (event) => this.#follow(event));
  }

  go(address: string): void {
    const focused = document.activeElement?.id;
    history.replaceState(focused ? ({ focus: focused } satisfies Kept) : null, '');
    history.pushState(null, '', address);
    this.#arrive();
  }

  /** Changes the address of the screen that is shown, such as its filter. */
  replace(address: string): void {
    history.replaceState(history.state, '', address);
    this.#arrive();
  }

  back(): void {
    history.back();
  }

  #arrive(): void {
    this.focus = null;
    this.place = placeOf(new URL(location.href));
  }

  #follow(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const anchor = event.target instanceof Element ? event.target.closest('a') : null;
    if (!anchor || anchor.target || anchor.hasAttribute('download') || anchor.origin !== location.origin) return;
    if (anchor.pathname !== BASE && !anchor.pathname.startsWith(`${BASE}/`)) return;
    event.preventDefault();
    this.go(anchor.href);
  }
}

export const router = new Router();
