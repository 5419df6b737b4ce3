/**
 * What has happened in a channel, newest first: the last few hundred lines, which can be held still to be read.
 */
import { VirtualList } from "./list.js";
import { eachFrame, element, find, setName, setText } from "./page.js";
import { formatClock, formatCount, stateLine } from "./text.js";

/** Older lines go. */
const MAX_LINES = 500;

/**
 * @typedef {object} Line
 * @property {"join" | "update" | "leave" | "snapshot"} kind
 * @property {string} userId of whom, or nothing
 * @property {string} connectionId
 * @property {unknown} detail a state, or a text
 */

/** @typedef {Line & { id: string, atMs: number }} Kept */

export class EventLog {
  /** @type {Kept[]} */
  #lines = [];
  #added = 0;
  /** How many had been added when the log was paused. */
  #pausedAt = -1;
  #pause = find("pause", HTMLButtonElement);
  #updates = find("show-updates", HTMLInputElement);
  /** @type {VirtualList<Kept>} */
  #list;
  #draw = eachFrame(() => this.#show());

  /** @param {(line: Line) => void} open */
  constructor(open) {
    this.#list = new VirtualList(find("event-list", HTMLElement), {
      keyOf: ({ id }) => id,
      make: makeRow,
      fill: fillRow,
      open,
    });
    this.#pause.addEventListener("click", () => {
      this.#pausedAt = this.#isPaused ? -1 : this.#added;
      this.#draw();
    });
  }

  get #isPaused() {
    return this.#pausedAt >= 0;
  }

  clear() {
    this.#lines = [];
    this.#pausedAt = -1;
    this.#list.scrollToTop();
    this.#draw();
  }

  /** @param {Line} line @param {number} atMs */
  add(line, atMs) {
    if (line.kind === "update" && !this.#updates.checked) return;
    this.#added += 1;
    this.#draw();
    // What is read stays as it is; of what comes meanwhile only the number is told.
    if (this.#isPaused) return;
    this.#lines.push({ ...line, id: String(this.#added), atMs });
    // Seldom, since each time all are moved.
    if (this.#lines.length >= 2 * MAX_LINES) this.#lines = this.#lines.slice(-MAX_LINES);
  }

  #show() {
    this.#list.show(this.#lines.slice(-MAX_LINES).reverse());
    find("events-empty", HTMLElement).hidden = this.#lines.length > 0;
    this.#pause.setAttribute("aria-pressed", String(this.#isPaused));
    const missed = this.#added - this.#pausedAt;
    setText(this.#pause, this.#isPaused ? `Go on (${formatCount(missed)} not shown)` : "Pause");
  }
}

function makeRow() {
  const row = element("div", "event-row");
  row.append(element("time"), element("span", "kind"), element("bdi", "name"), element("bdi", "detail"));
  return row;
}

/** @param {HTMLElement} row @param {Kept} line */
function fillRow(row, { kind, atMs, userId, detail }) {
  const [time, what, who, more] = row.children;
  if (!time || !what || !who || !more) return;
  setText(time, formatClock(atMs));
  setText(what, kind);
  row.dataset["kind"] = kind;
  setName(who, userId);
  setText(more, typeof detail === "string" ? detail : stateLine(detail));
}
