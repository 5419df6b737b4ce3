/**
 * Where tokens come from, how long one is good and whose it is. Reads `exp` and `sub` of a token and nothing else;
 * whether it is valid is for the server to say.
 */
import { describe, PresenceError } from "./protocol.js";

/** Gives a token, at once or later; null, undefined or "" to connect without one. */
export type GetToken = () => string | null | undefined | Promise<string | null | undefined>;

/** A token that ends sooner than this is not used for a new connection, in ms. */
const MIN_REMAINING_MS = 30_000;

export interface Token {
  readonly text: string;
  /** How long it is still good, in ms, where it says so readably. */
  remainingMs(): number | undefined;
}

export class Tokens {
  #getToken: GetToken | undefined;
  #held: Token | undefined;

  constructor(token: string | undefined, getToken: GetToken | undefined) {
    this.#held = received(token);
    this.#getToken = getToken;
  }

  /** Whether another token can be had when this one ends or is refused. */
  get isRenewable(): boolean {
    return this.#getToken !== undefined;
  }

  /** The token for a new connection: the held one while it is good, else a new one. */
  async usable(): Promise<Token | undefined> {
    return !this.#getToken || (this.#held?.remainingMs() ?? 0) > MIN_REMAINING_MS ? this.#held : this.renew();
  }

  /** A new token; throws `TOKEN_UNAVAILABLE`. */
  async renew(): Promise<Token | undefined> {
    try {
      return (this.#held = received(await this.#getToken?.()));
    } catch (error) {
      throw unavailable(describe(error));
    }
  }

  /** The held token is of no more use: the next one is this, or is asked for. */
  refused(next?: string): void {
    if (next || this.#getToken) this.#held = received(next);
  }
}

export function unavailable(why: string): PresenceError {
  return new PresenceError("TOKEN_UNAVAILABLE", `getToken() gave no token: ${why}`);
}

function received(text: string | null | undefined): Token | undefined {
  if (!text) return undefined;
  const life = lifeMs(text);
  const at = performance.now();
  return { text, remainingMs: () => life && at + life - performance.now() };
}

/**
 * How long a token lasts from now on. A clock that puts now before the token was issued or after it has ended is wrong, by
 * hours perhaps: then the token is as good as new.
 */
function lifeMs(text: string): number | undefined {
  const exp = Number(claimOf(text, "exp"));
  const iat = Number(claimOf(text, "iat"));
  const now = Date.now() / 1000;
  return 1000 * (now < exp && !(now < iat) ? exp - now : exp - iat) || undefined;
}

/** One claim of a JWT, where it is readable. Texts that are not ASCII come out garbled, though always the same. */
export function claimOf(token: string, name: string): unknown {
  try {
    const payload = token.split(".")[1] ?? "";
    const claims = JSON.parse(atob(payload.replace(/-/g, "+").replace(/_/g, "/"))) as Record<string, unknown> | null;
    return claims?.[name];
  } catch {
    return undefined;
  }
}
