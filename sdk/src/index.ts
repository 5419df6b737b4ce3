/**
 * The client library of the Herenow presence server.
 */
export { createClient } from "./client.js";
export type { Client, ClientOptions } from "./client.js";
export type { CountListener, EventDetails, JoinListener, LeaveListener, SyncedListener, SyncListener, UpdateListener } from "./events.js";
export type { Unsubscribe } from "./listeners.js";
export type { ErrorListener, MeListener, Presence, PresenceOptions, StatusListener } from "./presence.js";
export { MAX_STATE_BYTES, PresenceError } from "./protocol.js";
export type { ClientErrorCode, Count, ErrorCode, LeaveReason, ServerErrorCode, State } from "./protocol.js";
export type { Connection, Me, User } from "./roster.js";
export type { Status, WebSocketClass, WebSocketLike } from "./link.js";
export type { GetToken } from "./token.js";
export type { TrackOptions } from "./tracked.js";
