/**
 * Who wants to be called, and when "after this task" is. Knows nothing of presence.
 *
 * A listener that throws breaks neither the others nor the library: its error is reported as an uncaught one.
 */

export type Unsubscribe = () => void;

export class Listeners<A extends unknown[]> {
  // Wrapped, so that one function added twice is two listeners with an end of their own each.
  #entries = new Set<{ readonly call: (...args: A) => void }>();

  get size(): number {
    return this.#entries.size;
  }

  add(call: (...args: A) => void): Unsubscribe {
    const entry = { call };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  /** Adds one that is also told, in a microtask, what the others know already: `present` says it, if anything. */
  addLate(call: (...args: A) => void, present: () => A | undefined): Unsubscribe {
    let isPending = true;
    const end = this.add((...args) => {
      isPending = false;
      call(...args);
    });
    queueMicrotask(() => {
      const args = isPending ? present() : undefined;
      if (args) guarded(() => call(...args));
    });
    return () => {
      isPending = false;
      end();
    };
  }

  emit(...args: A): void {
    for (const entry of [...this.#entries]) {
      // One listener may have ended another's subscription just now.
      if (this.#entries.has(entry)) guarded(() => entry.call(...args));
    }
  }
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
