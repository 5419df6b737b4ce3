/**
 * What is on the page: people, cursors, events. Takes what is there and shows it; names and words of others are only
 * ever set as text.
 */
import type { User } from "herenow";
import { readShown, type Shown } from "./state.js";

const LOG_LINES = 60;
const ARROW = "M3 2l6.5 16 2.3-6.6L18.5 9z";

export function find<E extends HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as E;
}

/** One row per user: oneself first, the others by name. */
export function showPeople(users: readonly User<Shown>[], me: string): void {
  const rows = users.map(({ userId, state, connections }) => ({ userId, shown: readShown(state), tabs: connections.length }));
  rows.sort((a, b) => Number(b.userId === me) - Number(a.userId === me) || a.shown.name.localeCompare(b.shown.name));
  find("people").replaceChildren(...rows.map(({ userId, shown, tabs }) => person(shown, tabs, userId === me)));
  find("count").textContent = String(users.length);
  find("alone").hidden = users.some(({ userId }) => userId !== me);
}

function person(shown: Shown, tabs: number, isMe: boolean): HTMLElement {
  const row = element("li", shown.away ? "away" : "");
  row.style.setProperty("--hue", String(shown.hue));
  const doing = shown.away ? "away" : shown.typing ? "typing…" : "here";
  const who = element("div", "who");
  who.append(element("b", "", isMe ? `${shown.name} (you)` : shown.name), element("small", doing === "typing…" ? "typing" : "", doing));
  row.append(element("span", "avatar", initials(shown.name)), who);
  if (tabs > 1) row.append(element("span", "tabs", `${tabs} tabs`));
  return row;
}

/** One cursor per connection of the others. */
export function showCursors(users: readonly User<Shown>[], me: string): void {
  const layer = find("cursors");
  const gone = new Set([...layer.children].map((cursor) => cursor.id));
  for (const { userId, connections } of users) {
    if (userId === me) continue;
    for (const { connectionId, state } of connections) {
      const shown = readShown(state);
      if (!shown.cursor) continue;
      const id = `cursor-${connectionId}`;
      gone.delete(id);
      place(document.getElementById(id) ?? layer.appendChild(cursor(id)), shown, shown.cursor);
    }
  }
  for (const id of gone) document.getElementById(id)?.remove();
}

function place(cursor: HTMLElement, shown: Shown, { x, y }: { x: number; y: number }): void {
  cursor.style.setProperty("--hue", String(shown.hue));
  cursor.style.setProperty("--x", String(x));
  cursor.style.setProperty("--y", String(y));
  cursor.classList.toggle("away", shown.away);
  cursor.classList.toggle("flipped", x > 0.75);
  const label = cursor.querySelector(".label");
  if (label) label.textContent = shown.says || (shown.typing ? `${shown.name} …` : shown.name);
}

function cursor(id: string): HTMLElement {
  const cursor = element("div", "cursor");
  cursor.id = id;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 20");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ARROW);
  path.setAttribute("fill", "currentColor");
  path.setAttribute("stroke", "#fff");
  path.setAttribute("stroke-width", "1.2");
  svg.append(path);
  cursor.append(svg, element("span", "label"));
  return cursor;
}

export function note(text: string): void {
  const log = find("log");
  const line = element("li");
  line.append(element("time", "", new Date().toLocaleTimeString([], { hour12: false })), element("span", "", text));
  log.prepend(line);
  while (log.children.length > LOG_LINES) log.lastElementChild?.remove();
}

function initials(name: string): string {
  const words = name.trim().split(/\s+/).slice(0, 2);
  return words.map((word) => [...word][0] ?? "").join("").toUpperCase();
}

function element(tag: string, className = "", text = ""): HTMLElement {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}
