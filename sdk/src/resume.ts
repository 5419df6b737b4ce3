/**
 * The right to take the last connection's place: the newest resume token that the server gave.
 *
 * In a page it outlives a reload, in `sessionStorage`, and lies there only between two pages of the tab: a tab that
 * is duplicated copies its storage, and two sockets would then claim one connection. What is stored is of use only
 * together with a token of the same user.
 */
import { claimOf } from "./token.js";

/** How long a page that was loaded again may take to say all that it wants, in ms. */
const LOAD_MS = 5_000;

/** The keys of this page's clients: two of one user have a place each, in the order in which they connect. */
const taken = new Set<string>();

export class Resume {
  /** How long what was taken over may go unclaimed, in ms; absent where nothing can have been taken over. */
  settleMs: number | undefined;
  /** The newest token, until it is used up or refused. */
  held: string | undefined;
  readonly url: string;
  #key = "";

  constructor(url: string) {
    this.url = url;
  }

  /** What goes with the first `token` of a new socket. What the page before this one left is newer than any other. */
  offer(token: string): string | undefined {
    taken.delete(this.#key);
    let place = 0;
    do this.#key = `herenow:${this.url}:${claimOf(token, "sub")}:${place++}`;
    while (taken.has(this.#key));
    taken.add(this.#key);
    const left = inStorage((storage) => {
      const found = storage.getItem(this.#key);
      storage.removeItem(this.#key);
      return found;
    });
    this.held = left || this.held;
    this.settleMs = left ? LOAD_MS : this.held ? 0 : undefined;
    return this.held;
  }

  /** There is nothing to come back to. */
  giveUp(): void {
    this.held = undefined;
    taken.delete(this.#key);
  }

  /** Leaves it to the next page of this tab. */
  leave(): void {
    inStorage((storage) => storage.setItem(this.#key, this.held as string));
    this.giveUp();
  }
}

/** Where there is no storage, it is full, or the browser denies it, a reload is an ordinary new connection. */
function inStorage<T>(use: (storage: Storage) => T): T | undefined {
  try {
    return use(sessionStorage);
  } catch {
    return undefined;
  }
}
