/**
 * How long to wait before the next attempt to connect. Full jitter, so that clients that were lost together do not come back
 * together: a wait is random between 0 and a most, which doubles with each failure.
 */

/** In ms. */
const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 4_000;

/** After this many failures, which are also taken as given where the advice is to come back later, the most is this. */
export const MANY_FAILURES = 10;
const MAX_LATE_WAIT_MS = 10_000;

export function waitMs(failures: number): number {
  return Math.random() * doubled(FIRST_WAIT_MS, failures, failures < MANY_FAILURES ? MAX_WAIT_MS : MAX_LATE_WAIT_MS);
}

/** The first wait, doubled so many times, up to the most. */
export function doubled(first: number, times: number, most: number): number {
  return Math.min(most, first * 2 ** times);
}
