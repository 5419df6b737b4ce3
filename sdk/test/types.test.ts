/**
 * What the types promise: checked by `tsc`, the `ts-expect-error` lines included.
 */
import { expectTypeOf, it } from "vitest";
import { WebSocket as WsWebSocket } from "ws";
import { type Client, type ClientOptions, createClient, type ErrorCode, type Status, type User } from "../src/index.js";
import { useCount, usePresence, useUsers } from "../src/react.js";

interface Cursor {
  x: number;
  y: number;
}

// Never called: only its types matter.
function types(client: Client): void {
  const cursors = client.realtime.presence<Cursor>("cursors");
  cursors.track({ x: 1, y: 2 });
  // @ts-expect-error a part is missing
  cursors.track({ x: 1 });
  expectTypeOf(cursors.track({ x: 1, y: 2 }, { expire: { x: 1_000 } })).toEqualTypeOf<Promise<boolean>>();
  cursors.patch({ x: 2 });
  // @ts-expect-error no such part
  cursors.patch({ z: 2 });
  // @ts-expect-error no such part
  cursors.track({ x: 1, y: 2 }, { expire: { z: 1_000 } });
  // @ts-expect-error a state is an object
  client.realtime.presence("x").track("away");
  // @ts-expect-error so is its type
  client.realtime.presence<string>("x");
  expectTypeOf(cursors.onCount(({ users, connections }) => users + connections)).toEqualTypeOf<() => void>();
  expectTypeOf(cursors.users()).toEqualTypeOf<readonly User<Cursor>[]>();
  expectTypeOf(cursors.onSync((users) => users[0]?.connections[0]?.state.x)).toEqualTypeOf<() => void>();
  cursors.onJoin((userId, connectionId, state, { first }) => {
    expectTypeOf([userId, connectionId]).toEqualTypeOf<string[]>();
    expectTypeOf(state).toEqualTypeOf<Cursor>();
    expectTypeOf(first).toEqualTypeOf<boolean>();
  });
  cursors.onUpdate((_userId, _connectionId, state) => expectTypeOf(state).toEqualTypeOf<Cursor>());
  cursors.onLeave((_userId, _connectionId, { reason, last }) => {
    expectTypeOf(reason).toEqualTypeOf<"disconnect" | "timeout" | "leave" | "kicked" | "unknown">();
    expectTypeOf(last).toEqualTypeOf<boolean>();
  });
  cursors.onError(({ code, message, channel }) => {
    expectTypeOf(code).toEqualTypeOf<ErrorCode>();
    expectTypeOf(message).toBeString();
    expectTypeOf(channel).toEqualTypeOf<string | undefined>();
  });
  cursors.onStatus((status) => expectTypeOf(status).toEqualTypeOf<Status>());
  // The page's own snippet: no type argument, a listener that takes less.
  const presence = client.realtime.presence("game-room");
  presence.track({ username: "Jane", status: "online", cursor: { x: 100, y: 200 } });
  presence.onJoin((userId, _connectionId, state) => [userId, state["username"]]);
  presence.onLeave((userId) => userId);
  // @ts-expect-error the list is not the application's to change
  presence.users().push();
  expectTypeOf(useUsers<Cursor>()).toEqualTypeOf<readonly User<Cursor>[]>();
  expectTypeOf(useUsers((users: readonly User<Cursor>[]) => users[0]?.state.x)).toEqualTypeOf<number | undefined>();
  expectTypeOf(useCount).returns.toBeNumber();
  expectTypeOf(usePresence<Cursor>).returns.toHaveProperty("users").toEqualTypeOf<readonly User<Cursor>[]>();
}

it("takes the WebSocket of a page and that of ws", () => {
  expectTypeOf<typeof globalThis.WebSocket>().toExtend<NonNullable<ClientOptions["WebSocket"]>>();
  expectTypeOf<typeof WsWebSocket>().toExtend<NonNullable<ClientOptions["WebSocket"]>>();
  expectTypeOf(createClient).toBeCallableWith("http://x", { getToken: async () => null });
  expectTypeOf(types).parameter(0).toEqualTypeOf<Client>();
});
