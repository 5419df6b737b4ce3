/**
 * Whether the other end still answers. A socket's own `readyState` is never believed: after a sleep it says open
 * for minutes while nothing gets through. Told what was heard; asks by `ping`, and says `dead` once.
 *
 * Time is counted in looks at the clock, so that a page that was frozen while it waited has not waited: what was sent to
 * it meanwhile is heard before the next look.
 */

const LOOK_INTERVAL_MS = 1_000;

/** The server expects to hear from a client twice in its presence TTL of 60,000 ms. */
const PING_LOOKS = 30;

/** Any frame must come within so many looks after a ping; after a wake, when a person is likely looking, within fewer. */
const PONG_LOOKS = 10;
const PROBE_LOOKS = 3;

/** A look that comes later than it should by this time, in ms, is a wake. */
const WAKE_MS = 5_000;

export interface HeartbeatEvents {
  /** Asks the other end to say something. */
  ping(): void;
  /** It has said nothing for a third of the time that it has. */
  unheard(): void;
  /** It has said nothing for all of it. */
  dead(): void;
}

export class Heartbeat {
  #told: HeartbeatEvents;
  #timer: ReturnType<typeof setInterval> | undefined;
  /** How many looks the answer to a ping may take; 0 while none is waited for. */
  #limit = 0;
  #waited = 0;

  constructor(told: HeartbeatEvents) {
    this.#told = told;
  }

  start(): void {
    this.stop();
    let lookedAt = Date.now();
    let looks = 0;
    this.#timer = setInterval(() => {
      const late = Date.now() - lookedAt - LOOK_INTERVAL_MS;
      lookedAt = Date.now();
      this.#waited += 1;
      // Counted, not computed from the clock, which may be set back.
      looks += 1;
      if (late > WAKE_MS) this.probe();
      else if (looks % PING_LOOKS === 0) this.#ask(PONG_LOOKS);
      if (!this.#limit) return;
      if (this.#waited >= this.#limit) this.#told.dead();
      else if (this.#waited > this.#limit / 3) this.#told.unheard();
    }, LOOK_INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.heard();
  }

  /** A frame came, whatever it says. */
  heard(): void {
    this.#limit = this.#waited = 0;
  }

  /** Something woke us: the socket has a short time to show that it lives. */
  probe(): void {
    if (!this.#limit || this.#limit > PROBE_LOOKS) this.#ask(PROBE_LOOKS);
  }

  #ask(looks: number): void {
    this.#limit = looks;
    this.#waited = 0;
    this.#told.ping();
  }
}
