/**
 * The arithmetic of a list of which only what can be seen is in the page. Pure. All rows have one height.
 */

/** Rows beyond the edges, so that a quick scroll shows no gap. */
const OVERSCAN = 6;

/**
 * @typedef {object} Frame
 * @property {number} top how far the list is scrolled, in px
 * @property {number} height what can be seen of it, in px
 * @property {number} rowHeight in px
 * @property {number} count all rows
 */

/** The rows to be in the page: from `first` up to but not including `end`. @param {Frame} frame */
export function rowsInView({ top, height, rowHeight, count }) {
  const first = Math.floor(top / rowHeight) - OVERSCAN;
  const end = Math.ceil((top + height) / rowHeight) + OVERSCAN;
  return { first: clamp(first, 0, count), end: clamp(end, 0, count) };
}

/** How far to scroll so that a row can be seen, moving no further than it needs. @param {Frame} frame @param {number} row */
export function topToShow({ top, height, rowHeight, count }, row) {
  const lowest = (row + 1) * rowHeight - height;
  const highest = row * rowHeight;
  const furthest = Math.max(0, count * rowHeight - height);
  return clamp(Math.min(Math.max(top, lowest), highest), 0, furthest);
}

/** The row that a key leads to, or undefined if the key is none of a list. @param {string} key @param {number} row @param {Frame} frame */
export function rowAfterKey(key, row, { height, rowHeight, count }) {
  const page = Math.max(1, Math.floor(height / rowHeight) - 1);
  const moves = /** @type {Record<string, number>} */ ({
    ArrowDown: row + 1,
    ArrowUp: row < 0 ? 0 : row - 1,
    PageDown: row + page,
    PageUp: row - page,
    Home: 0,
    End: count - 1,
  });
  const to = Object.hasOwn(moves, key) ? moves[key] : undefined;
  return to === undefined || count === 0 ? undefined : clamp(to, 0, count - 1);
}

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
