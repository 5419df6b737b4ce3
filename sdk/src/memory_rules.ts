/**
 * The rules of the server in memory: what stands under `namespaces` in the server's own configuration file. Only `true`
 * grants; a rule that throws denies.
 */
export interface Auth {
  id: string;
  role: string | undefined;
  email: string | undefined;
  isAnonymous: boolean;
  custom: unknown;
  claims: Readonly<Record<string, unknown>>;
}

export interface Namespace {
  maxMembers?: number;
  access?: {
    /** Which connections receive the channel's events; `auth` is null before a connection has authenticated. */
    subscribe?: (auth: Auth | null, channel: string) => unknown;
    /** Which users may become members. */
    track?: (auth: Auth, channel: string) => unknown;
  };
}

export type Namespaces = Readonly<Record<string, Namespace>>;

/** The claims of a token as rules see them. */
export function authOf(claims: Readonly<Record<string, unknown>>): Auth {
  const text = (name: string): string | undefined => (typeof claims[name] === "string" ? claims[name] : undefined);
  return {
    id: String(claims["sub"]),
    role: text("role"),
    email: text("email"),
    isAnonymous: claims["isAnonymous"] === true,
    custom: claims["custom"] ?? {},
    claims,
  };
}

/** The namespace that decides about a channel: an exact pattern, else the one with the longest text before its `*`. */
export function namespaceOf(namespaces: Namespaces, channel: string): Namespace | undefined {
  let best: { namespace: Namespace; length: number } | undefined;
  for (const [pattern, namespace] of Object.entries(namespaces)) {
    if (pattern === channel) return namespace;
    if (!matches(pattern, channel)) continue;
    const length = pattern.indexOf("*");
    if (!best || length > best.length) best = { namespace, length };
  }
  return best?.namespace;
}

export async function maySubscribe(namespace: Namespace | undefined, auth: Auth | null, channel: string): Promise<boolean> {
  const rule = namespace?.access?.subscribe;
  return rule ? granted(() => rule(auth, channel)) : auth !== null;
}

/** To be asked for a user that may subscribe. */
export async function mayTrack(namespace: Namespace | undefined, auth: Auth | null, channel: string): Promise<boolean> {
  const rule = namespace?.access?.track;
  return auth !== null && (!rule || granted(() => rule(auth, channel)));
}

async function granted(rule: () => unknown): Promise<boolean> {
  try {
    return (await rule()) === true;
  } catch {
    return false;
  }
}

function matches(pattern: string, channel: string): boolean {
  const parts = pattern.split("*").map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  return new RegExp(`^${parts.join("[^]*")}$`, "u").test(channel);
}
