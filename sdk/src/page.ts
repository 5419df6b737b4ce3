/**
 * What happens to the page: it wakes, it is left, it comes back. Does nothing where there is no page (Node).
 */

export interface PageEvents {
  /** Seen, focused or on another network again: whatever was connected may be dead. */
  woke(): void;
  /** About to be loaded again, or left in a way that cannot be told from that. */
  left(): void;
  /** Left by a link, or kept by the browser for the back button. */
  shelved(): void;
}

/** What is used of a `NavigateEvent`. */
interface Navigate {
  navigationType: string;
  destination: { sameDocument: boolean };
}

/** Returns the end of the watch. */
export function watchPage(told: PageEvents): () => void {
  if (typeof addEventListener !== "function") return () => {};
  const watch = new AbortController();
  const { signal } = watch;
  const on = (name: string, call: (event: Event) => void): void => addEventListener(name, call, { signal });
  const woke = (): void => told.woke();
  on("visibilitychange", () => {
    if (!document.hidden) woke();
  });
  for (const name of ["online", "offline", "focus", "pageshow", "resume"]) on(name, woke);
  // A page that the browser does not keep hears the same `pagehide` when it is loaded again and when a link leads away
  // from it. Browsers without this API are not asked; there a link is taken for a reload.
  let isLink = false;
  (globalThis as { navigation?: EventTarget }).navigation?.addEventListener(
    "navigate",
    (event) => {
      const { navigationType, destination } = event as Event & Navigate;
      isLink = navigationType !== "reload" && !destination.sameDocument;
    },
    { signal },
  );
  on("pagehide", (event) => ((event as PageTransitionEvent).persisted || isLink ? told.shelved() : told.left()));
  return () => watch.abort();
}
