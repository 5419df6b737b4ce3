/**
 * Who of some users is online: `import { online } from "herenow/online"`. A user is online while a connection of theirs is a
 * member of their own channel, `presence:user-<id>`. Uses the client as an application does.
 */
import type { Client } from "./client.js";
import type { Unsubscribe } from "./listeners.js";

export type { Unsubscribe };

/** Called with those of the users who are online. */
export type OnlineListener = (userIds: ReadonlySet<string>) => void;

/** More users than this need another design than one channel for each. */
export const MAX_ONLINE_USERS = 1_000;

/** The name of the channel in which a user is seen by friends: what each client tracks in to be online. */
export function channelOfUser(userId: string): string {
  return `user-${userId}`;
}

/**
 * Follows these users, and calls the listener each time that one comes online or goes, once for all that come or go in one task.
 * What was known stays while the connection is lost. Throws a `RangeError` for more than `MAX_ONLINE_USERS`, and
 * `INVALID_CHANNEL` for an id that no channel can be named after.
 */
export function online(client: Client, userIds: Iterable<string>, listener: OnlineListener): Unsubscribe {
  const wanted = new Set(userIds);
  if (wanted.size > MAX_ONLINE_USERS) {
    throw new RangeError(`${wanted.size} users are too many: at most ${MAX_ONLINE_USERS} can be followed.`);
  }
  const here = new Set<string>();
  let isPlanned = false;
  let isOver = false;
  const tellSoon = (): void => {
    if (isPlanned) return;
    isPlanned = true;
    queueMicrotask(() => {
      isPlanned = false;
      if (!isOver) listener(new Set(here));
    });
  };
  // All names first: one that is not valid must leave nothing behind.
  const followed = [...wanted].map((userId) => ({ userId, presence: client.realtime.presence(channelOfUser(userId)) }));
  for (const { userId, presence } of followed) {
    presence.onSync((users) => {
      // Whoever else is let into the channel is another user.
      const isHere = users.some((user) => user.userId === userId);
      if (isHere === here.has(userId)) return;
      if (isHere) here.add(userId);
      else here.delete(userId);
      tellSoon();
    });
  }
  return () => {
    isOver = true;
    for (const { presence } of followed) presence.close();
  };
}
