/**
 * A list of any length, of which only the rows that can be seen are elements. A row keeps its element as long as it is
 * seen, and elements of rows that are gone are used again. Moved through by the keyboard; knows nothing of what a row
 * shows.
 */
import { eachFrame } from "./page.js";
import { rowAfterKey, rowsInView, topToShow } from "./window.js";

/**
 * @template T
 * @typedef {object} Rows
 * @property {(item: T) => string} keyOf what makes an item the same
 * @property {() => HTMLElement} make an empty row
 * @property {(row: HTMLElement, item: T) => void} fill changes only what is different
 * @property {(item: T) => void} [open] it was chosen by Enter or a click
 */

/** @template T */
export class VirtualList {
  #viewport;
  #rows;
  #space = document.createElement("div");
  /** @type {readonly T[]} */
  #items = [];
  /** @type {Map<string, HTMLElement>} */
  #shown = new Map();
  /** @type {HTMLElement[]} */
  #spare = [];
  /** @type {string | undefined} */
  #activeKey;
  /** Where the active row was when it was last looked for. */
  #activeRow = -1;
  /** Whether the active row is to be scrolled to. */
  #isToBeSeen = false;
  #rowHeight = 1;
  #draw = eachFrame(() => this.#render());

  /** @param {HTMLElement} viewport the element that scrolls @param {Rows<T>} rows */
  constructor(viewport, rows) {
    this.#viewport = viewport;
    this.#rows = rows;
    viewport.tabIndex = 0;
    this.#space.className = "space";
    this.#space.setAttribute("role", "rowgroup");
    viewport.replaceChildren(this.#space);
    viewport.addEventListener("scroll", this.#draw, { passive: true });
    viewport.addEventListener("keydown", (event) => this.#press(event));
    viewport.addEventListener("click", (event) => this.#click(event));
    viewport.addEventListener("focus", () => this.#enter());
    new ResizeObserver(() => this.#measure()).observe(viewport);
    this.#measure();
  }

  /** Shows these items, or the same ones with something else in them. @param {readonly T[]} items */
  show(items) {
    this.#items = items;
    this.#draw();
  }

  /** Makes the item of this key the active one, and scrolls to it as soon as it is there. @param {string} key */
  activate(key) {
    this.#activeKey = key;
    this.#activeRow = -1;
    this.#isToBeSeen = true;
    this.#draw();
  }

  focus() {
    this.#viewport.focus({ preventScroll: true });
  }

  scrollToTop() {
    this.#viewport.scrollTop = 0;
  }

  #frame() {
    const { scrollTop: top, clientHeight: height } = this.#viewport;
    return { top, height, rowHeight: this.#rowHeight, count: this.#items.length };
  }

  /** The height of a row is the style's to say, and another one on a narrow page. */
  #measure() {
    const height = Number.parseFloat(getComputedStyle(this.#viewport).getPropertyValue("--row"));
    this.#rowHeight = height > 0 ? height : 36;
    this.#draw();
  }

  #render() {
    this.#space.style.height = `${this.#items.length * this.#rowHeight}px`;
    if (this.#isToBeSeen) this.#reveal();
    const frame = this.#frame();
    this.#viewport.setAttribute("aria-rowcount", String(frame.count));
    const { first, end } = rowsInView(frame);
    const items = this.#items.slice(first, end);
    this.#keepOnly(new Set(items.map(this.#rows.keyOf)));
    items.forEach((item, index) => this.#place(item, first + index));
    for (const row of this.#spare.splice(0)) row.remove();
    const active = this.#activeKey === undefined ? undefined : this.#shown.get(this.#activeKey);
    if (active) this.#viewport.setAttribute("aria-activedescendant", active.id);
    else this.#viewport.removeAttribute("aria-activedescendant");
  }

  /** @param {Set<string>} keys */
  #keepOnly(keys) {
    for (const [key, row] of this.#shown) {
      if (keys.has(key)) continue;
      this.#shown.delete(key);
      this.#spare.push(row);
    }
  }

  /** @param {T} item @param {number} at */
  #place(item, at) {
    const key = this.#rows.keyOf(item);
    const row = this.#shown.get(key) ?? this.#spare.pop() ?? this.#makeRow();
    this.#shown.set(key, row);
    row.style.transform = `translateY(${at * this.#rowHeight}px)`;
    row.setAttribute("aria-rowindex", String(at + 1));
    row.setAttribute("aria-selected", String(key === this.#activeKey));
    this.#rows.fill(row, item);
  }

  #makeRow() {
    const row = this.#rows.make();
    row.id = `row-${++made}`;
    row.classList.add("row");
    row.setAttribute("role", "row");
    for (const cell of row.children) cell.setAttribute("role", "gridcell");
    this.#space.append(row);
    return row;
  }

  /** The row of the active item, wherever it is now. */
  #findActive() {
    const { keyOf } = this.#rows;
    const at = this.#items[this.#activeRow];
    if (this.#activeKey === undefined) return -1;
    if (at !== undefined && keyOf(at) === this.#activeKey) return this.#activeRow;
    return this.#items.findIndex((item) => keyOf(item) === this.#activeKey);
  }

  /** @param {number} row */
  #goTo(row) {
    const item = this.#items[row];
    if (item === undefined) return;
    this.#viewport.scrollTop = topToShow(this.#frame(), row);
    this.#activeKey = this.#rows.keyOf(item);
    this.#activeRow = row;
    this.#draw();
  }

  #reveal() {
    const row = this.#findActive();
    if (row < 0) return;
    this.#isToBeSeen = false;
    this.#viewport.scrollTop = topToShow(this.#frame(), row);
  }

  #enter() {
    if (this.#findActive() < 0 && this.#viewport.matches(":focus-visible")) this.#goTo(0);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target !== this.#viewport) return;
    const active = this.#findActive();
    if (event.key === "Enter") {
      const item = this.#items[active];
      if (item === undefined) return;
      event.preventDefault();
      this.#rows.open?.(item);
      return;
    }
    const row = rowAfterKey(event.key, active, this.#frame());
    if (row === undefined) return;
    event.preventDefault();
    this.#goTo(row);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const row = event.target instanceof Element ? event.target.closest(".row") : null;
    // Whoever marks text to copy it opens nothing.
    if (!row || getSelection()?.type === "Range") return;
    for (const [key, shown] of this.#shown) {
      if (shown !== row) continue;
      const item = this.#items.find((one) => this.#rows.keyOf(one) === key);
      if (item === undefined) return;
      this.activate(key);
      this.#rows.open?.(item);
      return;
    }
  }
}

/** For ids of rows, which are one namespace for the whole page. */
let made = 0;
