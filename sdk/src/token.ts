/**
 * Where tokens come from, how long one is good and whose it is. Reads `exp` and `sub` of a token and nothing else;
 * whether it is valid is for the server to say.
 */
import { attempt, PresenceError } from "./protocol.js";

/** Gives a token, at once or later; null, undefined or "" to connect without one. */
export type GetToken = () => string | null | undefined | Promise<string | null | undefined>;

/** A token that ends sooner than this is not used for a new connection, in ms. */
const MIN_REMAINING_MS = 30_000;

/** A token is renewed this long before it ends, and never sooner than the least wait, in ms. */
const REFRESH_AHEAD_MS = 60_000;
const MIN_REFRESH_WAIT_MS = 30_000;

/** What setTimeout can hold, in ms: beyond it, timers fire at once. A token that lives longer is renewed sooner. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface Token {
  readonly text: string;
  /** When it ends, in ms of `performance.now()`; NaN where it does not say so readably. */
  readonly endsAt: number;
}

/** When to renew it, in ms from now: at half of a short life, or a minute before the end of a long one. */
export function refreshMs({ endsAt }: Token): number {
  const remaining = endsAt - performance.now();
  return Math.min(MAX_TIMER_MS, Math.max(MIN_REFRESH_WAIT_MS, remaining - Math.min(REFRESH_AHEAD_MS, remaining / 2)));
}

export type Tokens = ReturnType<typeof createTokens>;

export function createTokens(token: string | undefined, getToken: GetToken | undefined) {
  let held = received(token);

  /** A new token; throws `TOKEN_UNAVAILABLE`. */
  async function renew(): Promise<Token | undefined> {
    try {
      return (held = received(await getToken?.()));
    } catch (error) {
      throw unavailable(error);
    }
  }

  return {
    /** Whether another token can be had when this one ends or is refused. */
    isRenewable: !!getToken,
    renew,
    /** The token for a new connection: the held one while it is good, else a new one. */
    async usable(): Promise<Token | undefined> {
      return !getToken || (held && held.endsAt - performance.now() > MIN_REMAINING_MS) ? held : renew();
    },
    /** The held token is of no more use: the next one is this, or is asked for. */
    refused(next?: string): void {
      if (next || getToken) held = received(next);
    },
  };
}

export function unavailable(why: unknown): PresenceError {
  return new PresenceError("TOKEN_UNAVAILABLE", `getToken() gave no token: ${why}`);
}

function received(text: string | null | undefined): Token | undefined {
  return text ? { text, endsAt: performance.now() + lifeMs(text) } : undefined;
}

/**
 * How long a token lasts from now on. A clock that puts now before the token was issued or after it has ended is wrong, by
 * hours perhaps: then the token is as good as new.
 */
function lifeMs(text: string): number {
  const { exp, iat } = claimsOf(text);
  const now = Date.now() / 1000;
  return 1000 * (now < exp && !(now < iat) ? exp - now : exp - iat);
}

/** Of a JWT. */
interface Claims {
  sub?: string;
  exp: number;
  iat: number;
}

/** What a token claims, where it is readable. Texts that are not ASCII come out garbled, though always the same. */
export function claimsOf(token: string): Claims {
  const payload = (): string => (token.split(".")[1] as string).replace(/-/g, "+").replace(/_/g, "/");
  return attempt(() => JSON.parse(atob(payload())) as Claims | null) ?? ({} as Claims);
}
