/**
 * What a user shows, and reading it from others. Their names come from their tokens; their states are their own and may be
 * anything.
 */

/** What this page tracks. */
export interface Tracked {
  hue: number;
  typing: boolean;
  away: boolean;
  says: string;
  cursor: Point | null;
}

/** What is shown of a connection. */
export interface Shown extends Tracked {
  name: string;
}

/** A connection, or the last one of a user. */
interface Seen {
  state: object;
  /** What its token says of the user. */
  info?: object | undefined;
}

/** In parts of the stage's width and height, so that windows of different sizes agree. */
export interface Point {
  x: number;
  y: number;
}

/** In characters. With both at their longest the state and the info are still well below their limits. */
const MAX_NAME_CHARACTERS = 24;
const MAX_SAYS_CHARACTERS = 60;

/** A user whose token says no name is shown by the user id. */
export function readShown(userId: string, { state, info }: Seen): Shown {
  const { hue, typing, away, says, cursor } = state as Partial<Record<keyof Tracked, unknown>>;
  const { name } = (info ?? {}) as { name?: unknown };
  return {
    name: readName(name) || readName(userId),
    hue: typeof hue === "number" ? hue % 360 : 0,
    typing: typing === true,
    away: away === true,
    says: readSays(says),
    cursor: readPoint(cursor),
  };
}

export function readName(text: unknown): string {
  return cleaned(text, MAX_NAME_CHARACTERS);
}

export function readSays(text: unknown): string {
  return cleaned(text, MAX_SAYS_CHARACTERS);
}

/**
 * One line, without what turns a line's direction or is no character at all. A lone surrogate would make the whole
 * state one that the server refuses.
 */
function cleaned(text: unknown, most: number): string {
  if (typeof text !== "string") return "";
  const line = text.replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202A-\u202E\u2066-\u2069]/gu, "").trim();
  return [...line].slice(0, most).join("").trim();
}

function readPoint(point: unknown): Point | null {
  const { x, y } = (point ?? {}) as { x?: unknown; y?: unknown };
  const isPart = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1;
  return isPart(x) && isPart(y) ? { x, y } : null;
}
