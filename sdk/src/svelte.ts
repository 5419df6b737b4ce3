/**
 * Presence as Svelte stores: `import { users } from "herenow/svelte"`. A store is an object with `subscribe`, so nothing of
 * Svelte is needed here.
 */
import type { Client } from "./client.js";
import type { Status } from "./link.js";
import type { Unsubscribe } from "./listeners.js";
import type { Presence } from "./presence.js";
import type { PresenceError, State } from "./protocol.js";
import type { Me, User } from "./roster.js";

/** What `$store` reads. */
export interface Readable<T> {
  subscribe(run: (value: T) => void): Unsubscribe;
}

export interface PresenceStore<S extends object = State> extends Readable<readonly User<S>[]> {
  /** Tracks this state, also before anything subscribes. */
  track: Presence<S>["track"];
  /** Tracks the state with these fields in place of its own. */
  patch: Presence<S>["patch"];
  untrack(): void;
  /** Ends the tracked state and what subscribes. */
  close(): void;
}

/** The list of the channel `name`, while it is subscribed to. */
export function users<S extends object = State>(client: Client, name: string): PresenceStore<S> {
  const presence = client.realtime.presence<S>(name);
  return {
    ...readable(presence.users, (call) => presence.onSync(call)),
    track: presence.track,
    patch: presence.patch,
    untrack: presence.untrack,
    close: presence.close,
  };
}

/**
 * How many users there are in the channel `name`. If nothing of the page wants the list, the server sends no list, only the
 * count, at most once a second.
 */
export function count(client: Client, name: string): Readable<number> {
  const presence = client.realtime.presence(name);
  let users = presence.users().length;
  const onCount = (call: () => void): Unsubscribe =>
    presence.onCount((told) => {
      users = told.users;
      call();
    });
  return readable(() => users, onCount);
}

/** Whether the list of the channel `name` is complete and current. */
export function synced(client: Client, name: string): Readable<boolean> {
  const presence = client.realtime.presence(name);
  return readable(() => presence.synced, (call) => presence.onSynced(call));
}

/** The connection's status. */
export function status(client: Client): Readable<Status> {
  return readable(() => client.status, client.onStatus);
}

/** What ended the connection, or keeps it from being open. */
export function statusReason(client: Client): Readable<PresenceError | undefined> {
  return readable(() => client.statusReason, client.onStatus);
}

/** Who this client is, once the server has said so. */
export function me(client: Client): Readable<Me | undefined> {
  return readable(() => client.me, client.onMe);
}

/** Tells the present value at once, as stores do, and then each other one. */
function readable<T>(present: () => T, onChange: (call: () => void) => Unsubscribe): Readable<T> {
  return {
    subscribe(run) {
      let told = present();
      run(told);
      return onChange(() => {
        const now = present();
        if (now === told) return;
        told = now;
        run(now);
      });
    },
  };
}
