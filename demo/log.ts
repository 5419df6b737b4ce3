/**
 * The list of events, newest first. Keeps it short, and calm enough for eyes and for screen readers; decides nothing of
 * what an event is.
 */
import { element, find, setText } from "./page.js";

export type Kind = "came" | "went" | "changed" | "you" | "failed";

/** Older lines go. */
const MAX_LINES = 60;

/** A moving cursor makes thirty changes a second; the line that counts them is rewritten this often, in ms. */
const COUNT_EVERY_MS = 250;

interface Moves {
  line: HTMLElement;
  count: number;
  isDue: boolean;
}

/** The lines on top that count moves, by who moves: anything else that happens ends them. */
const moves = new Map<string, Moves>();

export function note(kind: Kind, text: string): void {
  moves.clear();
  add(kind, text);
}

/** One more move of `name`, counted on one line until something else happens. */
export function noteMove(name: string): void {
  const known = moves.get(name);
  if (!known) {
    const line = add("changed", `${name} moved`);
    // Nobody wants to hear a number four times a second.
    line.setAttribute("aria-hidden", "true");
    moves.set(name, { line, count: 1, isDue: false });
    return;
  }
  known.count += 1;
  if (known.isDue) return;
  known.isDue = true;
  setTimeout(() => {
    known.isDue = false;
    const text = known.line.lastElementChild;
    if (text) setText(text, `${name} moved ×${known.count}`);
  }, COUNT_EVERY_MS);
}

function add(kind: Kind, text: string): HTMLElement {
  const log = find("log");
  const line = element("li", kind);
  const what = element("span", "", text);
  what.dir = "auto";
  line.append(element("time", "", new Date().toLocaleTimeString([], { hourCycle: "h23" })), what);
  log.prepend(line);
  while (log.children.length > MAX_LINES) log.lastElementChild?.remove();
  return line;
}
