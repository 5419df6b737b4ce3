/**
 * The list of all channels: read again and again, filtered and sorted here.
 */
import { ChannelTable, MAX_CHANNELS } from "./channels.js";
import { VirtualList } from "./list.js";
import { eachFrame, element, find, setName, setText } from "./page.js";
import { repeat } from "./repeat.js";
import { bareName, formatCount, formatRate, plural } from "./text.js";

/** @typedef {import("./channels.js").Channel} Channel */

/** From the end of one reading of the list to the next, in ms. */
const PAUSE_MS = 2_000;

/** A filter that is being typed is looked for this long after the last key, in ms. */
const TYPING_MS = 80;

/**
 * @typedef {object} Outside
 * @property {(channel: string) => void} open
 * @property {() => void} reached the server has answered
 * @property {(error: unknown) => void} failed
 */

export class ChannelsView {
  #outside;
  #table = new ChannelTable();
  #filter = find("filter", HTMLInputElement);
  /** @type {import("./channels.js").Order} */
  #order = "name";
  /** @type {VirtualList<Channel>} */
  #list;
  #draw = eachFrame(() => this.#show());

  /** @param {Outside} outside */
  constructor(outside) {
    this.#outside = outside;
    this.#list = new VirtualList(find("channel-list", HTMLElement), {
      keyOf: ({ channel }) => channel,
      make: makeRow,
      fill: fillRow,
      open: ({ channel }) => outside.open(channel),
    });
    let timer = 0;
    this.#filter.addEventListener("input", () => {
      clearTimeout(timer);
      timer = window.setTimeout(() => {
        this.#list.scrollToTop();
        this.#draw();
      }, TYPING_MS);
    });
    this.#filter.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        this.#list.focus();
      }
    });
    for (const button of orderButtons()) {
      button.addEventListener("click", () => this.#sort(/** @type {import("./channels.js").Order} */ (button.dataset["order"])));
    }
  }

  /** @param {import("./api.js").Api} api @param {AbortSignal} signal */
  start(api, signal) {
    this.#table = new ChannelTable();
    this.#draw();
    const failed = (/** @type {unknown} */ error) => {
      this.#table.giveUp();
      this.#outside.failed(error);
    };
    return repeat({ work: () => this.#read(api, signal), failed, pauseMs: PAUSE_MS, signal });
  }

  /** Marks the channel that is looked at. @param {string} channel */
  mark(channel) {
    this.#list.activate(channel);
  }

  focusFilter() {
    this.#filter.focus();
    this.#filter.select();
  }

  focusList() {
    this.#list.focus();
  }

  /** @param {import("./api.js").Api} api @param {AbortSignal} signal */
  async #read(api, signal) {
    for await (const rows of api.channels(signal)) {
      this.#table.take(rows, performance.now());
      this.#outside.reached();
      this.#draw();
      if (this.#table.isFull) break;
    }
    this.#table.finish();
    this.#draw();
  }

  /** @param {import("./channels.js").Order} order */
  #sort(order) {
    this.#order = order;
    for (const button of orderButtons()) button.setAttribute("aria-pressed", String(button.dataset["order"] === order));
    this.#list.scrollToTop();
    this.#draw();
  }

  #show() {
    const { value } = this.#filter;
    const channels = this.#table.select(value, this.#order);
    this.#list.show(channels);
    const { channels: all, members, rate } = this.#table.totals();
    const count = this.#table.isCut ? `the first ${formatCount(MAX_CHANNELS)}` : formatCount(all);
    const shown = value.trim() ? `${formatCount(channels.length)} of ${count}` : count;
    setText(find("totals", HTMLElement), `${shown} · ${plural(members, "member", "members")} · ${formatRate(rate)} changes/s`);
    const empty = find("channels-empty", HTMLElement);
    empty.hidden = channels.length > 0;
    if (!empty.hidden) setText(empty, this.#emptyText(value));
  }

  /** @param {string} filter */
  #emptyText(filter) {
    if (!this.#table.isComplete) return "Reading the list…";
    return filter.trim() ? "No channel in use has this in its name." : "No channel is in use.";
  }
}

/** @returns {NodeListOf<HTMLButtonElement>} */
function orderButtons() {
  return document.querySelectorAll("button[data-order]");
}

function makeRow() {
  const row = element("div", "channel-row");
  row.append(element("bdi", "name"), element("span", "number"), element("span", "number"));
  return row;
}

/** @param {HTMLElement} row @param {Channel} channel */
function fillRow(row, { channel, connections, rate }) {
  const [name, members, changes] = row.children;
  if (!name || !members || !changes) return;
  setName(name, bareName(channel));
  setText(members, formatCount(connections));
  setText(changes, formatRate(rate));
  row.classList.toggle("busy", (rate ?? 0) > 0);
}
