/**
 * The right to take the last connection's place: the newest resume token that the server gave.
 *
 * In a page it outlives a reload and a link, in `sessionStorage`, and lies there only between two pages of the tab: a tab
 * that is duplicated copies its storage, and two sockets would then claim one connection. What is stored is of use only
 * together with a token of the same user.
 */
import { attempt } from "./protocol.js";
import { claimsOf } from "./token.js";

/** How long the next page may take to say all that it wants, in ms. */
const LOAD_MS = 5_000;

/** The keys of this page's clients: two of one user have a place each, in the order in which they connect. */
const taken = new Set<string>();

export type Resume = ReturnType<typeof createResume>;

export function createResume(url: string) {
  let key = "";

  const resume = {
    /** How long what was taken over may go unclaimed, in ms; absent where nothing can have been taken over. */
    settleMs: undefined as number | undefined,
    /** The newest token, until it is used up or refused. */
    held: undefined as string | undefined,

    /** What goes with the first `token` of a new socket. What the page before this one left is newer than any other. */
    offer(token: string): string | undefined {
      taken.delete(key);
      key = `herenow:${url}:${claimsOf(token).sub}:`;
      while (taken.has(key)) key += "+";
      taken.add(key);
      // Where there is no storage, or the browser denies it, a reload is an ordinary new connection.
      const left = attempt(() => sessionStorage.getItem(key));
      attempt(() => sessionStorage.removeItem(key));
      resume.held = left || resume.held;
      resume.settleMs = left ? LOAD_MS : resume.held ? 0 : undefined;
      return resume.held;
    },

    /** There is nothing to come back to. */
    giveUp(): void {
      resume.held = undefined;
      taken.delete(key);
    },

    /** Leaves it to the next page of this tab, if there is something to come back to. */
    keep(): void {
      // The storage may be full.
      if (resume.held) attempt(() => sessionStorage.setItem(key, resume.held as string));
    },
  };
  return resume;
}
