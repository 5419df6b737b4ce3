/**
 * A state that a handle tracks, and the fields of it that end by themselves. Checks it once, when it is tracked; what is sent
 * later is what is left of it then.
 */
import { type State, stateOf } from "./protocol.js";

/** What goes with a state. */
export interface TrackOptions<S extends object = State> {
  /**
   * How long each of these fields is shown after it was set, in ms: from 1,000 to 3,600,000, for at most eight fields. The
   * server ends it, whatever happens to this client.
   */
  expire?: { readonly [Field in keyof S]?: number } | undefined;
}

export interface Tracked {
  readonly state: State;
  /** When fields end, in ms since 1970: that clock goes on while the machine sleeps. */
  readonly ends: Readonly<Record<string, number>>;
}

/** The server takes no shorter time, in ms. */
const MIN_EXPIRE_MS = 1_000;

/** Throws `INVALID_STATE` or `STATE_TOO_LARGE`. With `base`, the state says only what is other than there. */
export function trackedOf(state: object, options?: TrackOptions, base?: Tracked): Tracked {
  const ends = { ...base?.ends };
  for (const field in state) delete ends[field];
  for (const field in options?.expire) ends[field] = Date.now() + (options.expire[field] as number);
  return { state: stateOf(base ? { ...leftOf(base).state, ...state } : state), ends };
}

/** What is to be seen of it now, and how long each field that ends has left, in ms. */
export function leftOf({ state, ends }: Tracked): { state: State; expire: Record<string, number> | undefined } {
  const left: Record<string, unknown> = { ...state };
  let expire: Record<string, number> | undefined;
  for (const field in ends) {
    const ms = (ends[field] as number) - Date.now();
    if (ms > 0) (expire ??= {})[field] = Math.max(MIN_EXPIRE_MS, Math.ceil(ms));
    else delete left[field];
  }
  return { state: left, expire };
}
