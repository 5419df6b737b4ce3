/**
 * How many are in the channels of the server in memory, for the connections that only count: told when that has changed, and
 * not within a second after it was told last. Knows nothing of who is told.
 */
import type { MemoryChannel } from "./memory_channel.js";
import type { Count } from "./protocol.js";

export interface CountFrame extends Count {
  type: "presence_count";
  channel: string;
  epoch: number;
  seq: number;
}

/** The time between two counts of a channel, in ms. */
const INTERVAL_MS = 1_000;

export class MemoryCounts {
  /** What was told last, by channel. */
  readonly #told = new Map<string, CountFrame>();
  /** The channels of which a count was told less than the interval ago, until that is over. */
  readonly #resting = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #tell: (channel: string, count: CountFrame) => boolean;

  /** `tell` says whether anybody counts that channel. */
  constructor(tell: (channel: string, count: CountFrame) => boolean) {
    this.#tell = tell;
  }

  /** The first one of a subscription: the one that others got last, if it is not older than the interval. */
  first(name: string, channel: MemoryChannel): CountFrame {
    const told = this.#resting.has(name) ? this.#told.get(name) : undefined;
    return told ?? this.#rest(name, channel);
  }

  /** Nobody counts it. */
  forget(name: string): void {
    clearTimeout(this.#resting.get(name));
    this.#resting.delete(name);
    this.#told.delete(name);
  }

  /** Its members are others than before. */
  changed(name: string, channel: MemoryChannel): void {
    const told = this.#told.get(name);
    if (!told || this.#resting.has(name)) return;
    const { users, connections } = channel.count();
    if (users === told.users && connections === told.connections) return;
    if (!this.#tell(name, this.#rest(name, channel))) this.forget(name);
  }

  /** Counts now, and not again before the interval is over. */
  #rest(name: string, channel: MemoryChannel): CountFrame {
    const { epoch, seq } = channel;
    const count: CountFrame = { type: "presence_count", channel: name, epoch, seq, ...channel.count() };
    this.#told.set(name, count);
    clearTimeout(this.#resting.get(name));
    const timer = setTimeout(() => {
      this.#resting.delete(name);
      this.changed(name, channel);
    }, INTERVAL_MS);
    // A test that has ended must not wait for it.
    (timer as { unref?: () => void }).unref?.();
    this.#resting.set(name, timer);
    return count;
  }
}
