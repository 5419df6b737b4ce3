/**
 * What happens to the page: it wakes, it is left, it comes back. Does nothing where there is no page (Node).
 */

export interface PageEvents {
  /** Seen, focused or on another network again: whatever was connected may be dead. */
  woke(): void;
  /** Left, loaded again, closed, or kept by the browser for the back button: which of these, no page can know. */
  left(): void;
}

/** Returns the end of the watch. */
export function watchPage(told: PageEvents): () => void {
  const watch = new AbortController();
  const { signal } = watch;
  // Outside of browsers there are no such events.
  const on = (name: string, call: () => void): void => globalThis.addEventListener?.(name, call, { signal });
  on("visibilitychange", () => {
    if (!document.hidden) told.woke();
  });
  for (const name of ["online", "offline", "focus", "pageshow", "resume"]) on(name, told.woke);
  on("pagehide", told.left);
  return () => watch.abort();
}
