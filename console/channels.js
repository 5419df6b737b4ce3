/**
 * All channels, as page after page of the list tells of them, and how busy each is. Pure: time is an argument.
 */

/**
 * @typedef {object} ChannelRow
 * @property {string} channel
 * @property {number | null} epoch
 * @property {number | null} seq
 * @property {number | null} changes
 * @property {number} users
 * @property {number} connections
 * @property {number} subscribers
 */

/** @typedef {ChannelRow & { atMs: number, rate: number | null }} Channel */

/** @typedef {"name" | "members" | "rate"} Order */

/** More would fill the memory of the tab; the filter of the server finds the others. */
export const MAX_CHANNELS = 100_000;

/** Below this a rate says more about the moment than about the channel. In ms. */
const MIN_RATE_MS = 500;

export class ChannelTable {
  /** @type {Map<string, Channel>} */
  #known = new Map();
  /** @type {Map<string, Channel>} */
  #sweep = new Map();
  #isComplete = false;

  /** Whether the list has been read to its end once. */
  get isComplete() {
    return this.#isComplete;
  }

  /** Whether the list need not be read further. */
  get isFull() {
    return this.#sweep.size >= MAX_CHANNELS;
  }

  /** Whether there are channels that are not shown. */
  get isCut() {
    return this.#known.size >= MAX_CHANNELS;
  }

  /** A page of the list. @param {ChannelRow[]} rows @param {number} atMs */
  take(rows, atMs) {
    for (const row of rows) {
      if (this.isFull) return;
      const before = this.#known.get(row.channel);
      const channel = withRate(row, before, atMs);
      this.#sweep.set(row.channel, channel);
      this.#known.set(row.channel, channel);
    }
  }

  /** The list has been read to its end: what it did not have is gone. */
  finish() {
    this.#known = this.#sweep;
    this.#sweep = new Map();
    this.#isComplete = true;
  }

  /** What was read of a list that could not be read to its end is kept. */
  giveUp() {
    this.#sweep = new Map();
  }

  /** @param {string} channel */
  find(channel) {
    return this.#known.get(channel);
  }

  totals() {
    const totals = { channels: this.#known.size, members: 0, rate: 0 };
    for (const { connections, rate } of this.#known.values()) {
      totals.members += connections;
      totals.rate += rate ?? 0;
    }
    return totals;
  }

  /** @param {string} filter @param {Order} order */
  select(filter, order) {
    const wanted = filter.trim().toLowerCase();
    const rows = [...this.#known.values()];
    const found = wanted ? rows.filter(({ channel }) => channel.toLowerCase().includes(wanted)) : rows;
    return found.sort(ORDERS[order]);
  }
}

/** @param {Channel} a @param {Channel} b */
const byName = (a, b) => (a.channel < b.channel ? -1 : a.channel > b.channel ? 1 : 0);

/** @type {Record<Order, (a: Channel, b: Channel) => number>} */
const ORDERS = {
  name: byName,
  members: (a, b) => b.connections - a.connections || byName(a, b),
  rate: (a, b) => (b.rate ?? -1) - (a.rate ?? -1) || byName(a, b),
};

/** @param {ChannelRow} row @param {Channel | undefined} before @param {number} atMs @returns {Channel} */
function withRate(row, before, atMs) {
  if (!before) return { ...row, atMs, rate: null };
  const passed = atMs - before.atMs;
  // The same page twice, or a member of it that moved: what is known is newer than half a second.
  if (passed < MIN_RATE_MS) return { ...row, changes: before.changes, atMs: before.atMs, rate: before.rate };
  const isSameList = row.epoch !== null && row.epoch === before.epoch;
  if (!isSameList || row.changes === null || before.changes === null) return { ...row, atMs, rate: null };
  return { ...row, atMs, rate: (Math.max(0, row.changes - before.changes) * 1000) / passed };
}
