/**
 * What an application is told of a channel, and what it gives to be told.
 */
import type { Count, LeaveReason, State } from "./protocol.js";
import type { User } from "./roster.js";

/** What every event says beside its member. */
export interface EventDetails {
  /** The member is this client's own connection. */
  isMe: boolean;
  /** What the token of a member that joined or changed says of its user (the claim `presence.info`). */
  info?: State | undefined;
  /** The difference was found in a new list after the connection had been lost: it happened some time before. */
  cause?: "resync" | undefined;
}

export type SyncListener<S extends object = State> = (users: readonly User<S>[]) => void;
export type CountListener = (count: Count) => void;
export type SyncedListener = (synced: boolean) => void;
export type JoinListener<S extends object = State> = (
  userId: string,
  connectionId: string,
  state: S,
  more: EventDetails & { first: boolean },
) => void;
export type UpdateListener<S extends object = State> = (
  userId: string,
  connectionId: string,
  state: S,
  more: EventDetails,
) => void;
export type LeaveListener = (
  userId: string,
  connectionId: string,
  more: EventDetails & { reason: LeaveReason; last: boolean },
) => void;

/** What listens to a channel, by what it is told. Each of these subscribes. */
export interface ChannelListeners<S extends object = State> {
  sync: SyncListener<S>;
  join: JoinListener<S>;
  update: UpdateListener<S>;
  leave: LeaveListener;
  synced: SyncedListener;
  count: CountListener;
}
