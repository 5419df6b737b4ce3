/**
 * Work that is done again and again, one at a time: less often while nobody looks, and less often while it fails. Knows
 * nothing of what the work is.
 */

/** A tab that nobody sees is kept up to date this often, in ms. */
const HIDDEN_PAUSE_MS = 30_000;

/** A list that takes long to read is read less often: at most this part of the time. */
const MAX_BUSY = 0.2;

/** The longest pause after failures, in ms. */
const MAX_BACKOFF_MS = 30_000;

/**
 * Does `work` now and `pauseMs` after each end of it, until the signal. A failure is told and the next try comes later.
 * @param {{ work: () => Promise<void>, failed: (error: unknown) => void, pauseMs: number, signal: AbortSignal }} task
 */
export async function repeat({ work, failed, pauseMs, signal }) {
  let failures = 0;
  while (!signal.aborted) {
    const begun = performance.now();
    try {
      await work();
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      failed(error);
    }
    const took = performance.now() - begun;
    const pause = failures > 0 ? backoffMs(failures) : Math.max(pauseMs, took / MAX_BUSY - took);
    await pauseWhileSeen(pause, signal);
  }
}

/** A random part of it, so that tabs do not come back all at once. @param {number} failures from 1 */
export function backoffMs(failures) {
  const most = Math.min(1000 * 2 ** (failures - 1), MAX_BACKOFF_MS);
  return most * (0.5 + Math.random() / 2);
}

/** Ends early when the tab is looked at again, or the signal comes. @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
export function pauseWhileSeen(ms, signal) {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const begun = performance.now();
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    const wait = () => {
      clearTimeout(timer);
      const all = document.hidden ? Math.max(ms, HIDDEN_PAUSE_MS) : ms;
      const left = all - (performance.now() - begun);
      if (left <= 0) end();
      else timer = setTimeout(end, left);
    };
    const end = () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", wait);
      signal.removeEventListener("abort", end);
      resolve();
    };
    document.addEventListener("visibilitychange", wait);
    signal.addEventListener("abort", end);
    wait();
  });
}
