"use client";
/**
 * Presence as React hooks: `import { usePresence } from "herenow/react"`. Holds nothing of its own beyond what React needs;
 * not part of the main entry, so React is needed only where this is imported.
 *
 * On the server, and while a page is hydrated, every hook gives a constant and connects to nothing.
 */
import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import type { FunctionComponentElement, ProviderProps, ReactNode } from "react";
import type { Client } from "./client.js";
import type { Status } from "./link.js";
import type { Unsubscribe } from "./listeners.js";
import type { Presence } from "./presence.js";
import type { PresenceError, State } from "./protocol.js";
import type { Me, User } from "./roster.js";

interface Provided {
  client: Client;
  channel: string | undefined;
}

export interface PresenceProviderProps {
  /** Made once, outside of components. */
  client: Client;
  /** The channel of hooks that name none. */
  channel?: string | undefined;
  children?: ReactNode;
}

export interface PresenceView<S extends object = State> {
  /** The current list: empty until the first snapshot. */
  users: readonly User<S>[];
  /** Whether the list is complete and current. While there is no connection the list stays, and this is `false`. */
  synced: boolean;
  status: Status;
  /** What ended the connection, or keeps it from being open. */
  statusReason: PresenceError | undefined;
  /** What is wrong with the state, the channel or the connection, as long as it is. */
  error: PresenceError | undefined;
}

const Context = createContext<Provided | undefined>(undefined);

const NOBODY: readonly never[] = [];
const nobody = (): readonly never[] => NOBODY;
const nothing = (): undefined => undefined;
const no = (): boolean => false;
const none = (): number => 0;
const idle = (): Status => "idle";
/** What listens where there is no channel. */
const silence = (): Unsubscribe => () => {};
const SILENT: Pick<Presence, "onSync" | "onSynced" | "onCount"> = { onSync: silence, onSynced: silence, onCount: silence };

/** Gives its client, and a channel if it has one, to the hooks below it. */
export function PresenceProvider({
  client,
  channel,
  children,
}: PresenceProviderProps): FunctionComponentElement<ProviderProps<Provided | undefined>> {
  const first = useRef(client);
  useEffect(() => {
    if (first.current !== client && isDevelopment()) {
      console.warn("herenow: PresenceProvider got another client. Make the client once, outside of components.");
    }
    first.current = client;
  }, [client]);
  const provided = useMemo(() => ({ client, channel }), [client, channel]);
  return createElement(Context.Provider, { value: provided }, children);
}

/**
 * Subscribes to the channel `name` while the component is mounted, and tracks `state` if it is given. Without a name it
 * does nothing. A state that cannot be tracked is reported as `error`.
 */
export function usePresence<S extends object = State>(name: string | undefined, state?: S): PresenceView<S> {
  const { client } = useProvided();
  const presence = usePresenceOf<S>(client, name);
  const subscribe = useSubscribe(presence);
  const users = useSyncExternalStore<readonly User<S>[]>(subscribe, presence?.users ?? nobody, nobody);
  const subscribeSynced = useCallback((call: () => void) => (presence ?? SILENT).onSynced(call), [presence]);
  const synced = useSyncExternalStore(subscribeSynced, () => presence?.synced ?? false, no);
  const status = useStatus();
  const statusReason = useSyncExternalStore(client.onStatus, () => client.statusReason, nothing);
  const [failure, setFailure] = useState<{ presence: object; error: PresenceError }>();

  // Compared as JSON: a component makes a new object at each render, and most often an equal one.
  const json = useMemo(() => jsonOf(state), [state]);
  useEffect(() => {
    if (!presence) return;
    try {
      if (state === undefined) presence.untrack();
      else presence.track(state);
      setFailure(undefined);
    } catch (error) {
      // Until there is another state.
      return setFailure({ presence, error: error as PresenceError });
    }
    const ends = [
      presence.onError((error) => setFailure({ presence, error })),
      // A list that has what is wanted of it says that nothing is wrong any more; so does a connection of its own errors.
      presence.onSync(() => {
        if (state === undefined || presence.me()) setFailure(undefined);
      }),
      presence.onStatus((now) => {
        if (now === "connected") setFailure((known) => (known?.error.channel === undefined ? undefined : known));
      }),
    ];
    return () => ends.forEach((end) => end());
  }, [presence, json]);
  useEffect(() => () => presence?.untrack(), [presence]);

  return { users, synced, status, statusReason, error: failure?.presence === presence ? failure?.error : undefined };
}

/**
 * What `select` makes of the list of the provider's channel, or of `name`. Renders again only if that is another value, or
 * an array or object with other values in it.
 */
export function useUsers<S extends object = State>(): readonly User<S>[];
export function useUsers<S extends object, T>(select: (users: readonly User<S>[]) => T, name?: string): T;
export function useUsers(
  select: (users: readonly User[]) => unknown = (users) => users,
  name?: string,
): unknown {
  const { client, channel } = useProvided();
  const presence = usePresenceOf<State>(client, name ?? channel);
  const subscribe = useSubscribe(presence);
  const before = useRef<{ value: unknown }>(undefined);
  const selected = (users: readonly User[]): unknown => {
    const value = select(users);
    if (!before.current || !isAlike(before.current.value, value)) before.current = { value };
    return before.current.value;
  };
  return useSyncExternalStore(
    subscribe,
    () => selected(presence?.users() ?? NOBODY),
    () => selected(NOBODY),
  );
}

/**
 * How many users there are in the provider's channel, or in `name`. If nothing of the page wants the list, the server sends no
 * list, only the count, at most once a second.
 */
export function useCount(name?: string): number {
  const { client, channel } = useProvided();
  const presence = usePresenceOf<State>(client, name ?? channel);
  const count = useMemo(() => {
    let users = presence?.users().length ?? 0;
    const subscribe = (call: () => void): Unsubscribe =>
      (presence ?? SILENT).onCount((told) => {
        users = told.users;
        call();
      });
    return { subscribe, present: (): number => users };
  }, [presence]);
  return useSyncExternalStore(count.subscribe, count.present, none);
}

/** Who this client is, once the server has said so. */
export function useMe(): Me | undefined {
  const { client } = useProvided();
  return useSyncExternalStore(client.onMe, () => client.me, nothing);
}

/** The connection's status. */
export function useStatus(): Status {
  const { client } = useProvided();
  return useSyncExternalStore(client.onStatus, () => client.status, idle);
}

function useProvided(): Provided {
  const provided = useContext(Context);
  if (!provided) throw new Error("herenow: this hook needs a <PresenceProvider client={…}> above it.");
  return provided;
}

function usePresenceOf<S extends object>(client: Client, name: string | undefined): Presence<S> | undefined {
  return useMemo(() => (name === undefined ? undefined : client.realtime.presence<S>(name)), [client, name]);
}

function useSubscribe<S extends object>(presence: Presence<S> | undefined): (call: () => void) => Unsubscribe {
  return useCallback((call: () => void) => (presence ?? SILENT).onSync(call), [presence]);
}

function jsonOf(state: unknown): string | undefined {
  try {
    return state === undefined ? undefined : JSON.stringify(state);
  } catch {
    // What cannot be written is another state each time; `track` says what is wrong with it.
    return "";
  }
}

/** Equal, or arrays or plain objects whose values are equal. */
function isAlike(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (!isPlain(one) || !isPlain(other)) return false;
  const names = Object.keys(one);
  return (
    Array.isArray(one) === Array.isArray(other) &&
    names.length === Object.keys(other).length &&
    names.every((name) => name in other && Object.is(one[name], other[name]))
  );
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return Array.isArray(value) || Object.prototype.toString.call(value) === "[object Object]";
}

// Written as bundlers look for it.
declare const process: { env: { NODE_ENV?: string } };

function isDevelopment(): boolean {
  try {
    return process.env.NODE_ENV !== "production";
  } catch {
    return false;
  }
}
