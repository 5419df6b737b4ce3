/**
 * Who wants to be called, and when "after this task" is. Knows nothing of presence.
 *
 * A listener that throws breaks neither the others nor the library: its error is reported as an uncaught one.
 */

export type Unsubscribe = () => void;

export type Listeners<A extends unknown[]> = ReturnType<typeof createListeners<A>>;

/** `present` says what listeners know already, if anything: one that is added is told that in a microtask. */
export function createListeners<A extends unknown[]>(present?: () => A | undefined) {
  // Wrapped, so that one function added twice is two listeners with an end of their own each.
  const entries = new Set<{ call(...args: A): void }>();
  return {
    get size() {
      return entries.size;
    },
    add(call: (...args: A) => void): Unsubscribe {
      let isPending = true;
      const entry = {
        call(...args: A): void {
          isPending = false;
          call(...args);
        },
      };
      entries.add(entry);
      queueMicrotask(() => {
        const args = isPending && present?.();
        if (args) guarded(() => call(...args));
      });
      return () => {
        isPending = false;
        entries.delete(entry);
      };
    },
    emit(...args: A): void {
      for (const entry of [...entries]) {
        // One listener may have ended another's subscription just now.
        if (entries.has(entry)) guarded(() => entry.call(...args));
      }
    },
  };
}

/** Runs foreign code; what it throws is reported, not passed on. */
export function guarded(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/**
 * Runs once the present task, and what is queued behind it already, is over. Not by setTimeout where there is
 * another way: browsers slow the timers of hidden tabs down to one a minute.
 */
export function afterTask(run: () => void): void {
  const { setImmediate } = globalThis as { setImmediate?: (run: () => void) => void };
  if (setImmediate) {
    setImmediate(run);
  } else {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      run();
    };
    port2.postMessage(0);
  }
}
