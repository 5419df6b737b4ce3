/**
 * What a visitor shows, and reading it from others: their states are their own and may be anything.
 */
export interface Shown {
  name: string;
  hue: number;
  typing: boolean;
  away: boolean;
  says: string;
  cursor: { x: number; y: number } | null;
}

export function readShown(state: object): Shown {
  const { name, hue, typing, away, says, cursor } = state as Partial<Record<keyof Shown, unknown>>;
  return {
    name: typeof name === "string" && name.trim() !== "" ? name.slice(0, 24) : "Somebody",
    hue: typeof hue === "number" ? hue : 210,
    typing: typing === true,
    away: away === true,
    says: typeof says === "string" ? says.slice(0, 60) : "",
    cursor: readPoint(cursor),
  };
}

function readPoint(point: unknown): Shown["cursor"] {
  const { x, y } = (point ?? {}) as { x?: unknown; y?: unknown };
  const within = (value: unknown): value is number => typeof value === "number" && value >= 0 && value <= 1;
  return within(x) && within(y) ? { x, y } : null;
}
