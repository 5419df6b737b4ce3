/**
 * Who is on the page: the rows of people and the cursors. An element stays as long as the one whom it shows, so that
 * cursors glide and nothing is read out twice.
 */
import type { User } from "herenow";
import { element, find, setText } from "./page.js";
import { readShown, type Shown } from "./state.js";

/** More would make the page slow and show less. The count above the list tells of all. */
const MAX_ROWS = 100;
const MAX_CURSORS = 200;

/** From these parts of the width and the height on, a label stands on the other side of its arrow. */
const FLIP_FROM = 0.65;
const RAISE_FROM = 0.9;

const SVG = "http://www.w3.org/2000/svg";
const ARROW = "M3 2l6.5 16 2.3-6.6L18.5 9z";

const rows = new Map<string, HTMLElement>();
const cursors = new Map<string, HTMLElement>();

/** One row per user: oneself first, the others by name. */
export function showPeople(users: readonly User<object>[]): void {
  const people = users.map((user) => {
    const { userId, connections, isMe } = user;
    return { userId, shown: readShown(userId, user), tabs: connections.length, isMe };
  });
  people.sort((a, b) => Number(b.isMe) - Number(a.isMe) || a.shown.name.localeCompare(b.shown.name));
  people.length = Math.min(people.length, MAX_ROWS);
  keepOnly(rows, new Set(people.map(({ userId }) => userId)));
  const list = find("people");
  people.forEach(({ userId, shown, tabs, isMe }, place) => {
    const row = known(rows, userId, madeRow);
    setRow(row, shown, isMe ? `${shown.name} (you)` : shown.name);
    setText(within(row, ".tabs"), tabs > 1 ? `${tabs} tabs` : "");
    if (list.children[place] !== row) list.insertBefore(row, list.children[place] ?? null);
  });
  setText(find("count"), String(users.length));
  setText(find("more"), users.length > MAX_ROWS ? `and ${users.length - MAX_ROWS} more` : "");
}

/** One cursor per connection, but for this page's own: that one the system draws. */
export function showCursors(users: readonly User<object>[]): void {
  const seen = new Map<string, Shown>();
  for (const { userId, connections } of users) {
    for (const connection of connections) {
      const shown = readShown(userId, connection);
      if (shown.cursor && !connection.isMe && seen.size < MAX_CURSORS) seen.set(connection.connectionId, shown);
    }
  }
  keepOnly(cursors, seen);
  for (const [connectionId, shown] of seen) {
    const cursor = known(cursors, connectionId, madeCursor);
    setCursor(cursor, shown);
    if (!cursor.isConnected) find("cursors").append(cursor);
  }
}

function madeRow(): HTMLElement {
  const avatar = element("span", "avatar");
  avatar.setAttribute("aria-hidden", "true");
  const who = element("div", "who");
  who.append(element("b"), element("small"));
  for (const line of who.children) (line as HTMLElement).dir = "auto";
  const row = element("li");
  row.append(avatar, who, element("span", "tabs"));
  return row;
}

function setRow(row: HTMLElement, shown: Shown, name: string): void {
  row.style.setProperty("--hue", String(shown.hue));
  row.classList.toggle("away", shown.away);
  setText(within(row, ".avatar"), initials(shown.name));
  setText(within(row, "b"), name);
  const doing = within(row, "small");
  doing.classList.toggle("typing", shown.typing);
  setText(doing, doingOf(shown));
}

function doingOf({ typing, says, away }: Shown): string {
  if (typing) return "is typing…";
  if (says) return `“${says}”`;
  return away ? "away" : "here";
}

function madeCursor(): HTMLElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  const arrow = document.createElementNS(SVG, "path");
  arrow.setAttribute("d", ARROW);
  svg.append(arrow);
  const label = element("span", "label");
  label.dir = "auto";
  const cursor = element("div", "cursor");
  cursor.append(svg, label);
  return cursor;
}

function setCursor(cursor: HTMLElement, { hue, cursor: at, away, typing, says, name }: Shown): void {
  if (!at) return;
  cursor.style.setProperty("--hue", String(hue));
  cursor.style.setProperty("--x", String(at.x));
  cursor.style.setProperty("--y", String(at.y));
  cursor.classList.toggle("away", away);
  cursor.classList.toggle("typing", typing);
  cursor.classList.toggle("flipped", at.x > FLIP_FROM);
  cursor.classList.toggle("raised", at.y > RAISE_FROM);
  setText(within(cursor, ".label"), says || name);
}

/** Takes those who are gone from the page. */
function keepOnly(elements: Map<string, HTMLElement>, keys: { has(key: string): boolean }): void {
  for (const [key, shown] of elements) {
    if (keys.has(key)) continue;
    shown.remove();
    elements.delete(key);
  }
}

function known(elements: Map<string, HTMLElement>, key: string, made: () => HTMLElement): HTMLElement {
  const found = elements.get(key) ?? made();
  elements.set(key, found);
  return found;
}

function within(whole: HTMLElement, selector: string): HTMLElement {
  const found = whole.querySelector<HTMLElement>(selector);
  if (!found) throw new Error(`it was made with a ${selector}`);
  return found;
}

function initials(name: string): string {
  const words = name.split(/\s+/).slice(0, 2);
  return words.map((word) => [...word][0] ?? "").join("").toUpperCase();
}
