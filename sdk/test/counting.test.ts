import { describe, expect, it, vi } from "vitest";
import { CHANNEL, entry, error, join, leave, settle, sync, update } from "./fake.js";
import { presence, problems, said, server, SUBSCRIBE, track, UNSUBSCRIBE } from "./scene.js";

const COUNT = { type: "subscribe", channels: [CHANNEL], mode: "count" };
const SUBSCRIBED = { type: "subscribed", channel: CHANNEL };
const count = (users: number, connections: number): Record<string, unknown> => ({
  type: "presence_count",
  channel: CHANNEL,
  epoch: 1,
  seq: 1,
  users,
  connections,
});

/** What a listener heard, as "users/connections". */
function listened(): string[] {
  const heard: string[] = [];
  presence.onCount(({ users, connections }) => heard.push(`${users}/${connections}`));
  return heard;
}

// P4.22, P5.8
describe("counting", () => {
  it("asks for no list where nothing else is wanted, and tells each other count once", async () => {
    const heard = listened();
    await server.accept();
    expect(said()).toEqual([COUNT]);
    server.socket.say(SUBSCRIBED, count(2, 3), count(2, 3), count(2, 4));
    expect(heard).toEqual(["2/3", "2/4"]);
    const late = listened();
    await settle();
    expect(late).toEqual(["2/4"]);
    expect(said()).toEqual([]);
    expect([presence.users(), presence.synced]).toEqual([[], false]);
  });

  it("unsubscribes when the last listener is gone", async () => {
    const end = presence.onCount(() => {});
    await server.accept();
    said();
    end();
    await settle();
    expect(said()).toEqual([UNSUBSCRIBE]);
  });

  it("takes the list where somebody wants it, and counts what is in it, once for all that comes in a task", async () => {
    const heard = listened();
    await server.accept();
    server.socket.say(SUBSCRIBED, count(1, 1));
    said();
    const joined = vi.fn();
    presence.onJoin(joined);
    await settle();
    expect(said()).toEqual([SUBSCRIBE]);
    // What the server had counted before it read this.
    server.socket.say(count(9, 9), SUBSCRIBED, sync(1, entry("bob", "b1")), join(2, "ann", "a1"), join(3, "ann", "a2"));
    await settle();
    server.socket.say(update(4, "ann", "a2", { n: 2 }), leave(5, "ann", "a1", "leave"));
    await settle();
    expect(heard).toEqual(["1/1", "9/9", "2/3", "2/2"]);
    expect(joined).toHaveBeenCalledTimes(2);
  });

  it("gives up the list where only the count is still wanted, and tells what changed meanwhile as found later", async () => {
    const heard = listened();
    const end = presence.onSync(() => {});
    await server.accept();
    expect(said()).toEqual([SUBSCRIBE]);
    server.socket.say(SUBSCRIBED, sync(1, entry("bob", "b1")));
    await settle();
    end();
    await settle();
    expect(said()).toEqual([COUNT]);
    server.socket.say(join(2, "ann", "a1"), SUBSCRIBED, count(2, 2));
    expect([presence.users().length, presence.synced]).toEqual([1, false]);
    expect(heard).toEqual(["1/1", "2/2"]);
    const causes: unknown[] = [];
    presence.onJoin((_user, _connection, _state, { cause }) => causes.push(cause));
    await settle();
    expect(said()).toEqual([SUBSCRIBE]);
    server.socket.say(SUBSCRIBED, sync(2, entry("bob", "b1"), entry("ann", "a1")));
    expect(causes).toEqual(["resync"]);
  });

  it("stays with the list while a component is mounted anew", async () => {
    listened();
    const end = presence.onSync(() => {});
    await server.accept();
    said();
    end();
    presence.onSync(() => {});
    await settle();
    expect(said()).toEqual([]);
  });

  it("subscribes before it tracks, which would subscribe to the list", async () => {
    listened();
    const answer = presence.track({ n: 1 });
    const socket = await server.accept();
    expect(said()).toEqual([COUNT, track({ n: 1 })]);
    socket.say(SUBSCRIBED, count(0, 0), { type: "ack", ref: socket.refs[0] }, count(1, 1));
    expect(await answer).toBe(true);
    presence.untrack();
    await settle();
    expect(said()).toEqual([{ type: "presence_leave", channel: CHANNEL }]);
  });

  it("tells once what refuses both the subscription and the state with it", async () => {
    listened();
    const answer = presence.track({ n: 1 });
    const socket = await server.accept();
    socket.say(error("CHANNEL_ACCESS_DENIED", CHANNEL), { ...error("CHANNEL_ACCESS_DENIED", CHANNEL), ref: socket.refs[0] });
    await expect(answer).rejects.toMatchObject({ code: "CHANNEL_ACCESS_DENIED" });
    expect(problems).toEqual(["CHANNEL_ACCESS_DENIED"]);
    // The next state has an answer of its own.
    const next = presence.track({ n: 2 });
    await settle();
    await vi.advanceTimersByTimeAsync(50);
    socket.say({ ...error("CHANNEL_ACCESS_DENIED", CHANNEL), ref: socket.refs[1] });
    await expect(next).rejects.toMatchObject({ code: "CHANNEL_ACCESS_DENIED" });
    expect(problems).toEqual(["CHANNEL_ACCESS_DENIED", "CHANNEL_ACCESS_DENIED"]);
  });

  it("counts on after a reconnect, and keeps the count until then", async () => {
    const heard = listened();
    (await server.accept()).say(SUBSCRIBED, count(2, 2));
    server.socket.end(1006);
    await vi.advanceTimersByTimeAsync(2_000);
    await server.accept("me-2");
    expect(said()).toEqual([COUNT]);
    server.socket.say(SUBSCRIBED, count(2, 2), count(3, 3));
    expect(heard).toEqual(["2/2", "3/3"]);
  });

  it("asks again where a list comes all the same, and takes none of it", async () => {
    const heard = listened();
    await server.accept();
    said();
    server.socket.say(sync(1, entry("bob", "b1")));
    await settle();
    expect(said()).toEqual([COUNT]);
    expect([heard, presence.users()]).toEqual([[], []]);
  });

  it("is nobody once the server has ended the subscription", async () => {
    const heard = listened();
    (await server.accept()).say(SUBSCRIBED, count(2, 3));
    server.socket.say({ type: "unsubscribed", channel: CHANNEL, code: "CHANNEL_ACCESS_DENIED" });
    expect(heard).toEqual(["2/3", "0/0"]);
    expect(problems).toEqual(["CHANNEL_ACCESS_DENIED"]);
  });
});
