/**
 * Where tokens come from, how long one is good and whose it is. Reads `exp` and `sub` of a token and nothing else;
 * whether it is valid is for the server to say.
 */
import { describe, PresenceError } from "./protocol.js";

/** Gives a token, at once or later; null, undefined or "" to connect without one. */
export type GetToken = () => string | null | undefined | Promise<string | null | undefined>;

/** A token that ends sooner than this is not used for a new connection, in ms. */
const MIN_REMAINING_MS = 30_000;

/** `getToken` must answer within this time, in ms: one that hangs must not stop all reconnecting. */
const TOKEN_TIMEOUT_MS = 15_000;

export class Tokens {
  #getToken: GetToken | undefined;
  #held: string | undefined;

  constructor(token: string | undefined, getToken: GetToken | undefined) {
    this.#held = token || undefined;
    this.#getToken = getToken;
  }

  /** Whether another token can be had when this one ends or is refused. */
  get isRenewable(): boolean {
    return this.#getToken !== undefined;
  }

  /** The token for a new connection: the held one while it is good, else a new one. */
  async usable(): Promise<string | undefined> {
    if (!this.#getToken) return this.#held;
    const ends = this.#held === undefined ? undefined : expiresAt(this.#held);
    return ends !== undefined && ends - Date.now() > MIN_REMAINING_MS ? this.#held : this.renew();
  }

  /** A new token; throws `TOKEN_UNAVAILABLE`. */
  async renew(): Promise<string | undefined> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer in ${TOKEN_TIMEOUT_MS} ms`)), TOKEN_TIMEOUT_MS);
      });
      this.#held = (await Promise.race([this.#getToken?.(), late])) || undefined;
      return this.#held;
    } catch (error) {
      throw new PresenceError("TOKEN_UNAVAILABLE", `getToken() gave no token: ${describe(error)}`);
    } finally {
      clearTimeout(timer);
    }
  }

  /** The held token is of no more use: the next one is this, or is asked for. */
  refused(next?: string): void {
    if (next || this.#getToken) this.#held = next;
  }
}

/** When a JWT ends, in ms since 1970, where it says so readably. */
export function expiresAt(token: string): number | undefined {
  const exp = claimOf(token, "exp");
  return typeof exp === "number" ? exp * 1000 : undefined;
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
