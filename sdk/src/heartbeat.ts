/**
 * Whether the other end still answers. A socket's own `readyState` is never believed: after a sleep it says open
 * for minutes while nothing gets through. Told what was heard; asks by `ping`, and says `dead` once.
 */

/** The server expects to hear from a client twice in its presence TTL of 60,000 ms. */
export const PING_INTERVAL_MS = 30_000;

/** Any frame must come within this time after a ping. */
export const PONG_TIMEOUT_MS = 10_000;

/** The same after a wake, where somebody is likely looking. */
export const PROBE_TIMEOUT_MS = 2_000;

/** How often the clock is looked at; a look that comes later than it should is a wake. */
const LOOK_INTERVAL_MS = 5_000;

export class Heartbeat {
  #ping: () => void;
  #dead: () => void;
  #looks: ReturnType<typeof setInterval> | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  #timeout = 0;
  #askedAgain = false;

  constructor(ping: () => void, dead: () => void) {
    this.#ping = ping;
    this.#dead = dead;
  }

  start(): void {
    this.stop();
    let lookedAt = Date.now();
    let looks = 0;
    this.#looks = setInterval(() => {
      const late = Date.now() - lookedAt - LOOK_INTERVAL_MS;
      lookedAt = Date.now();
      // Counted, not computed from the clock, which may be set back.
      looks += 1;
      if (late > LOOK_INTERVAL_MS) this.probe();
      else if (looks % (PING_INTERVAL_MS / LOOK_INTERVAL_MS) === 0) this.#ask(PONG_TIMEOUT_MS);
    }, LOOK_INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#looks);
    this.heard();
  }

  /** A frame came, whatever it says. */
  heard(): void {
    clearTimeout(this.#deadline);
    this.#deadline = undefined;
    this.#askedAgain = false;
  }

  /** Something woke us: the socket has a short time to show that it lives. */
  probe(): void {
    if (this.#deadline === undefined || this.#timeout > PROBE_TIMEOUT_MS) this.#ask(PROBE_TIMEOUT_MS);
  }

  #ask(timeout: number): void {
    clearTimeout(this.#deadline);
    this.#timeout = timeout;
    const due = Date.now() + timeout;
    this.#deadline = setTimeout(() => {
      this.#deadline = undefined;
      // Frozen meanwhile: the answer may lie unread behind this very timer, so it is asked for once more.
      const wasFrozen = Date.now() - due > PROBE_TIMEOUT_MS;
      if (wasFrozen && !this.#askedAgain) {
        this.#askedAgain = true;
        this.#ask(PROBE_TIMEOUT_MS);
      } else {
        this.#dead();
      }
    }, timeout);
    this.#ping();
  }
}
