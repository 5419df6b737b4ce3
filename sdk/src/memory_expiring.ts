/**
 * The fields of states that end by themselves, in the server in memory: when, and of which member. Knows nothing of states.
 */
type Timer = ReturnType<typeof setTimeout>;

export class MemoryExpiring {
  /** By channel and connection. */
  readonly #timers = new Map<string, Timer[]>();
  readonly #end: (channel: string, connectionId: string, field: string) => void;

  constructor(end: (channel: string, connectionId: string, field: string) => void) {
    this.#end = end;
  }

  /** From now on these fields of a member end after so many ms, and no others. */
  set(channel: string, connectionId: string, expire: Readonly<Record<string, number>>): void {
    this.clear(channel, connectionId);
    const timers = Object.entries(expire).map(([field, ms]) => {
      const timer = setTimeout(() => this.#end(channel, connectionId, field), ms);
      // A test that has ended must not wait for it.
      (timer as { unref?: () => void }).unref?.();
      return timer;
    });
    this.#timers.set(`${channel} ${connectionId}`, timers);
  }

  /** The member has left. */
  clear(channel: string, connectionId: string): void {
    const key = `${channel} ${connectionId}`;
    this.#timers.get(key)?.forEach(clearTimeout);
    this.#timers.delete(key);
  }
}
