/**
 * One connection of the server in memory: who it is, what it subscribes to, and its timers. Decides nothing.
 */
import type { Auth } from "./memory_rules.js";

/** The server's end of a socket. */
export interface Line {
  send(frame: object): void;
  close(code: number, reason?: string): void;
}

export interface Subscription {
  /** Whether the user may track, once a rule has said so. */
  mayTrack: boolean;
  /** It is sent how many there are, and nothing else. */
  isCounting: boolean;
}

/** What setTimeout can hold, in ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Connection {
  id = freshId();
  auth: Auth | undefined;
  resume: string | undefined;
  line: Line | undefined;
  /** By channel. */
  readonly subscriptions = new Map<string, Subscription>();
  readonly inbox: string[] = [];
  readonly defaultChannel: string | null;
  isBusy = false;
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();

  constructor(line: Line, defaultChannel: string | null) {
    this.line = line;
    this.defaultChannel = defaultChannel;
  }

  /** One timer of each name at most. */
  after(name: string, ms: number, run: () => void): void {
    this.cancel(name);
    const timer = setTimeout(run, Math.min(ms, MAX_TIMER_MS));
    // A test that has ended must not wait for them.
    (timer as { unref?: () => void }).unref?.();
    this.#timers.set(name, timer);
  }

  cancel(...names: string[]): void {
    for (const name of names.length ? names : this.#timers.keys()) clearTimeout(this.#timers.get(name));
  }
}

/** Behind what is queued already, and before any timer. */
export function queue(run: () => void): void {
  void Promise.resolve().then(run);
}

/** 128 random bits, as the server's. */
export function freshId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
