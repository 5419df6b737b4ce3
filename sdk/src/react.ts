/**
 * Presence as a React hook: `import { usePresence } from "herenow/react"`. Holds nothing of its own beyond what
 * React needs; not part of the main entry, so React is needed only where this is imported.
 */
import { useEffect, useMemo, useState, useSyncExternalStore } from "react";
import type { Client } from "./client.js";
import type { PresenceError, State } from "./protocol.js";
import type { User } from "./roster.js";
import type { Status } from "./link.js";

export interface PresenceView<S extends object = State> {
  /** The current list: empty until the first snapshot. */
  users: readonly User<S>[];
  status: Status;
  /** The last error of the channel or the connection. */
  error: PresenceError | undefined;
}

/**
 * Subscribes to the channel `name` while the component is mounted, and tracks `state` if it is given. An error that
 * `track` throws goes to the nearest error boundary.
 */
export function usePresence<S extends object = State>(client: Client, name: string, state?: S): PresenceView<S> {
  const presence = useMemo(() => client.realtime.presence<S>(name), [client, name]);
  const users = useSyncExternalStore(presence.onSync, presence.users, presence.users);
  const status = useSyncExternalStore(client.onStatus, () => client.status, () => client.status);
  const [failure, setFailure] = useState<{ presence: object; error: PresenceError }>();
  useEffect(() => presence.onError((error) => setFailure({ presence, error })), [presence]);

  // Compared as JSON: a component makes a new object at each render, and most often an equal one.
  const json = state === undefined ? undefined : JSON.stringify(state);
  useEffect(() => {
    if (state === undefined) presence.untrack();
    else presence.track(state);
  }, [presence, json]);
  useEffect(() => () => presence.untrack(), [presence]);

  return { users, status, error: failure?.presence === presence ? failure.error : undefined };
}
