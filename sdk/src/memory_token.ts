/**
 * Tokens for the server in memory. It checks the claims as the real server does, and no signature: there is no key to
 * configure, and a token that a backend has signed is good here too.
 */
import type { State } from "./protocol.js";

export type Claims = Readonly<Record<string, unknown>>;

/** Around `exp` and `nbf`, in ms. */
export const LEEWAY_MS = 60_000;

const MAX_USER_ID_BYTES = 256;
const MAX_INFO_BYTES = 256;

/** How long a token lasts for which nothing else is said, in ms. */
const DEFAULT_LIFE_MS = 3_600_000;

/** An unsigned token of this user; `claims` are added to it and may replace `exp`. */
export function mint(userId: string, claims: Claims = {}): string {
  const now = Date.now() / 1000;
  const payload = { sub: userId, iat: now, exp: now + DEFAULT_LIFE_MS / 1000, ...claims };
  return `${encoded({ alg: "none" })}.${encoded(payload)}.`;
}

/** The claims of a token that is valid now. */
export function verified(token: unknown): Claims | undefined {
  const claims = typeof token === "string" ? decoded(token.split(".")[1] ?? "") : undefined;
  const { sub, exp, nbf } = claims ?? {};
  if (!claims || typeof sub !== "string" || !sub || bytesOf(sub) > MAX_USER_ID_BYTES) return undefined;
  if (typeof exp !== "number" || remainingMs(exp) <= 0) return undefined;
  if (nbf !== undefined && (typeof nbf !== "number" || nbf * 1000 > Date.now() + LEEWAY_MS)) return undefined;
  const info = infoOf(claims);
  if (info !== undefined && (!isObject(info) || bytesOf(JSON.stringify(info)) > MAX_INFO_BYTES)) return undefined;
  return claims;
}

/** What a token says of its user to others. */
export function infoOf({ presence }: Claims): State | undefined {
  return isObject(presence) ? (presence["info"] as State | undefined) : undefined;
}

function isObject(value: unknown): value is State {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Until a connection with a token of this `exp` ends, in ms. */
export function remainingMs(exp: unknown): number {
  return Number(exp) * 1000 + LEEWAY_MS - Date.now();
}

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

function encoded(value: object): string {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

function decoded(part: string): Claims | undefined {
  try {
    const bytes = Uint8Array.from(atob(part.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Claims) : undefined;
  } catch {
    return undefined;
  }
}
