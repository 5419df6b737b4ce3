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

/**
 * `ping` asks the other end to say something; `unheard`: it has said nothing for a third of the time that it has; `dead`: for all
 * of it.
 */
export function createHeartbeat(ping: () => void, unheard: () => void, dead: () => void) {
  let timer: ReturnType<typeof setInterval> | undefined;
  /** How many looks the answer to a ping may take; 0 while none is waited for. */
  let limit = 0;
  let waited = 0;

  function ask(looks: number): void {
    limit = looks;
    waited = 0;
    ping();
  }

  /** A frame came, whatever it says. */
  function heard(): void {
    limit = waited = 0;
  }

  /** Something woke us: the socket has a short time to show that it lives. */
  function probe(): void {
    if (limit !== PROBE_LOOKS) ask(PROBE_LOOKS);
  }

  function stop(): void {
    clearInterval(timer);
    heard();
  }

  function start(): void {
    stop();
    let lookedAt = Date.now();
    let looks = 0;
    timer = setInterval(() => {
      waited += 1;
      // Counted, not computed from the clock, which may be set back.
      looks += 1;
      if (Date.now() - lookedAt > LOOK_INTERVAL_MS + WAKE_MS) probe();
      else if (looks % PING_LOOKS === 0) ask(PONG_LOOKS);
      lookedAt = Date.now();
      if (!limit) return;
      if (waited >= limit) dead();
      else if (waited > limit / 3) unheard();
    }, LOOK_INTERVAL_MS);
  }

  return { start, stop, heard, probe };
}
