/**
 * Presence as Vue composables: `import { usePresence } from "herenow/vue"`. Not part of the main entry, so Vue is needed
 * only where this is imported.
 */
import { computed, type ComputedRef, onScopeDispose, type Ref, shallowRef, toValue, watchEffect } from "vue";
import type { Client } from "./client.js";
import type { Status } from "./link.js";
import type { PresenceError, State } from "./protocol.js";
import type { Me, User } from "./roster.js";

export interface PresenceRefs<S extends object = State> {
  /** The current list: empty until the first snapshot. */
  users: Readonly<Ref<readonly User<S>[]>>;
  count: ComputedRef<number>;
  /** Whether the list is complete and current. While there is no connection the list stays, and this is `false`. */
  synced: Readonly<Ref<boolean>>;
  status: Readonly<Ref<Status>>;
  /** What ended the connection, or keeps it from being open. */
  statusReason: Readonly<Ref<PresenceError | undefined>>;
  me: Readonly<Ref<Me | undefined>>;
  /** The last error of the state, the channel or the connection; none again once a state is tracked or a list arrives. */
  error: Readonly<Ref<PresenceError | undefined>>;
}

/**
 * How many users there are in the channel `name`, until the component or scope ends. If nothing of the page wants the list, the
 * server sends no list, only the count, at most once a second.
 */
export function useCount(client: Client, name: string): Readonly<Ref<number>> {
  const presence = client.realtime.presence(name);
  const count = shallowRef(presence.users().length);
  // On a server there is nobody to see it, and nobody would end it.
  if (typeof window !== "undefined") onScopeDispose(presence.onCount(({ users }) => (count.value = users)));
  return count;
}

/**
 * Subscribes to the channel `name` until the component or scope ends, and tracks `state`, a value, ref or getter, as long as
 * it is not undefined.
 */
export function usePresence<S extends object = State>(
  client: Client,
  name: string,
  state?: S | Ref<S | undefined> | (() => S | undefined),
): PresenceRefs<S> {
  const presence = client.realtime.presence<S>(name);
  const users = shallowRef(presence.users());
  const synced = shallowRef(presence.synced);
  const status = shallowRef(client.status);
  const statusReason = shallowRef(client.statusReason);
  const me = shallowRef(client.me);
  const error = shallowRef<PresenceError>();
  // On a server there is nobody to see it, and nobody would end it.
  if (typeof window !== "undefined") {
    presence.onSync((list) => {
      users.value = list;
      error.value = undefined;
    });
    presence.onSynced((now) => (synced.value = now));
    presence.onError((problem) => {
      error.value = problem;
      statusReason.value = client.statusReason;
    });
    presence.onStatus((now, reason) => {
      status.value = now;
      statusReason.value = reason;
    });
    const endMe = client.onMe((now) => (me.value = now));
    watchEffect(() => {
      const now = toValue(state);
      try {
        if (now === undefined) presence.untrack();
        else presence.track(now);
        error.value = undefined;
      } catch (problem) {
        error.value = problem as PresenceError;
      }
    });
    onScopeDispose(() => {
      endMe();
      presence.close();
    });
  }
  return { users, count: computed(() => users.value.length), synced, status, statusReason, me, error };
}
