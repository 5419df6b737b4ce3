/**
 * What happens to the page: it wakes, it is left, it comes back. Does nothing where there is no page (Node).
 */

export interface PageEvents {
  /** Seen, focused or on another network again: whatever was connected may be dead. */
  woke(): void;
  /** Left for ever, or about to be loaded again. */
  left(): void;
  /** Left, and perhaps kept by the browser for the back button. */
  shelved(): void;
}

/** Returns the end of the watch. */
export function watchPage(told: PageEvents): () => void {
  if (typeof addEventListener !== "function") return () => {};
  const watch = new AbortController();
  const on = (name: string, call: (event: Event) => void): void =>
    addEventListener(name, call, { signal: watch.signal });
  const woke = (): void => told.woke();
  on("visibilitychange", () => {
    if (document.visibilityState === "visible") woke();
  });
  for (const name of ["online", "offline", "focus", "pageshow", "resume"]) on(name, woke);
  on("pagehide", (event) => ((event as PageTransitionEvent).persisted ? told.shelved() : told.left()));
  return () => watch.abort();
}
