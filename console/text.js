/**
 * What numbers, times and names look like. Pure: knows no page.
 */

const counts = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** Shown where a number is not known. */
export const UNKNOWN = "–";

/** @param {number} count */
export function formatCount(count) {
  return counts.format(count);
}

/** @param {number} count @param {string} one @param {string} many */
export function plural(count, one, many) {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** @param {number | null} perSecond */
export function formatRate(perSecond) {
  if (perSecond === null) return UNKNOWN;
  if (perSecond === 0) return "0";
  if (perSecond < 0.1) return "<0.1";
  return perSecond < 10 ? perSecond.toFixed(1) : formatCount(Math.round(perSecond));
}

/** How long ago, in the largest units. @param {number} ms */
export function formatAge(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d`;
}

/** @param {number} unixMs */
export function formatClock(unixMs) {
  return clock.format(unixMs);
}

/** A channel's name without the prefix that all have. @param {string} channel */
export function bareName(channel) {
  return channel.startsWith(PREFIX) ? channel.slice(PREFIX.length) : channel;
}

const PREFIX = "presence:";

/**
 * The text with every character named that cannot be seen or that turns the text around: else two names could look
 * the same. Joiners stay, since scripts and emoji need them.
 * @param {string} text
 */
export function visible(text) {
  return text.replace(UNSEEN, (character) => {
    const code = /** @type {number} */ (character.codePointAt(0));
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

/** A state on one line. @param {unknown} state */
export function stateLine(state) {
  return visible(JSON.stringify(state) ?? "");
}

/** A state to be read closely. @param {unknown} state */
export function stateBlock(state) {
  const lines = (JSON.stringify(state, null, 2) ?? "").split("\n");
  return lines.map(visible).join("\n");
}
