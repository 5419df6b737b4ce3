/**
 * The parts of the console that know no page: what they are given, and what they answer.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ChannelTable, MAX_CHANNELS } from "../console/channels.js";
import { MemberList } from "../console/members.js";
import { hashOf, readRoute } from "../console/route.js";
import { EventParser } from "../console/sse.js";
import { bareName, formatAge, formatRate, stateLine, visible } from "../console/text.js";
import { rowAfterKey, rowsInView, topToShow } from "../console/window.js";

test("events are the same however the stream is cut", () => {
  const text = ':\n\nevent: presence_join\nid: 1-2\ndata: {"a":"b: c"}\n\nevent: x\ndata: 1\ndata: 2\n\n:\n\n';
  const whole = new EventParser().push(text);
  assert.deepEqual(whole, [{ type: "presence_join", data: '{"a":"b: c"}' }, { type: "x", data: "1\n2" }]);
  for (let size = 1; size < 20; size += 1) {
    const parser = new EventParser();
    const events = [];
    for (let at = 0; at < text.length; at += size) events.push(...parser.push(text.slice(at, at + size)));
    assert.deepEqual(events, whole, `cut every ${size} characters`);
  }
});

test("members stay sorted by user, and keep since when they are here", () => {
  const list = new MemberList();
  const member = (userId, connectionId, n = 0) => ({ userId, connectionId, state: { n } });
  list.replace([member("b", "2"), member("a", "1"), member("b", "0")]);
  const ids = (filter = "") => list.select(filter).map(({ connectionId }) => connectionId);
  assert.deepEqual([ids(), list.size, list.users], [["1", "0", "2"], 3, 2]);
  list.noteSince("2", 7);
  list.put(member("aa", "9"), 100);
  list.put(member("b", "2", 5), 200);
  assert.deepEqual([ids(), ids("A")], [["1", "9", "0", "2"], ["1", "9"]]);
  assert.deepEqual(list.find("2"), { ...member("b", "2", 5), sinceMs: 7 });
  list.remove("0");
  list.remove("nobody");
  assert.deepEqual([ids(), list.size, list.users], [["1", "9", "2"], 3, 3]);
  list.replace([member("b", "2", 6), member("z", "3")]);
  assert.deepEqual(list.find("2"), { ...member("b", "2", 6), sinceMs: 7 });
  assert.deepEqual([ids(), list.users], [["2", "3"], 2]);
});

const row = (channel, changes, connections = 1, epoch = 1) => {
  return { channel, epoch, seq: changes, changes, users: connections, connections, subscribers: 0 };
};

test("a rate is the difference of two readings of one list", () => {
  const table = new ChannelTable();
  const rate = () => table.find("a").rate;
  table.take([row("a", 10)], 0);
  assert.equal(rate(), null, "one reading tells none");
  table.take([row("a", 11)], 100);
  assert.equal(rate(), null, "nor does one of a moment later");
  table.finish();
  table.take([row("a", 30)], 2000);
  assert.equal(rate(), 10);
  table.finish();
  table.take([row("a", 2, 1, 2)], 4000);
  assert.equal(rate(), null, "another epoch counts from the beginning");
  table.finish();
  table.take([{ ...row("a", null), epoch: null }], 6000);
  assert.equal(rate(), null, "a list that is being rebuilt");
});

test("a channel that is not in a whole reading is gone, and stays while a reading is not whole", () => {
  const table = new ChannelTable();
  const names = (filter = "", order = "name") => table.select(filter, order).map(({ channel }) => channel);
  table.take([row("b", 1, 5), row("A", 1, 9), row("c", 1, 5)], 0);
  assert.deepEqual([names(), table.isComplete], [["A", "b", "c"], false]);
  table.finish();
  table.take([row("b", 100, 5)], 1000);
  assert.deepEqual([names(), names("a"), names("", "members"), names("", "rate")], [["A", "b", "c"], ["A"], ["A", "b", "c"], ["b", "A", "c"]]);
  table.giveUp();
  table.take([row("b", 200, 5)], 2000);
  table.finish();
  assert.deepEqual([names(), table.totals()], [["b"], { channels: 1, members: 5, rate: 100 }]);
});

test("no more channels are held than a tab can hold", () => {
  const table = new ChannelTable();
  const rows = Array.from({ length: 1000 }, (_, n) => row(`x${n}`, 1));
  for (let page = 0; page <= MAX_CHANNELS / 1000; page += 1) {
    table.take(rows.map((one) => ({ ...one, channel: `${page}-${one.channel}` })), page);
  }
  assert.equal(table.isFull, true);
  table.finish();
  assert.deepEqual([table.totals().channels, table.isCut, table.isFull], [MAX_CHANNELS, true, false]);
});

test("only the rows around what is seen are elements", () => {
  const frame = { top: 3600, height: 360, rowHeight: 36, count: 10_000 };
  assert.deepEqual(rowsInView(frame), { first: 94, end: 116 });
  assert.deepEqual(rowsInView({ ...frame, top: 0, count: 3 }), { first: 0, end: 3 });
  assert.deepEqual(rowsInView({ ...frame, top: 1e9, count: 5 }), { first: 5, end: 5 });
  assert.deepEqual([topToShow(frame, 100), topToShow(frame, 0), topToShow(frame, 200), topToShow(frame, 105)], [3600, 0, 6876, 3600]);
  const keys = ["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "a", "constructor"];
  assert.deepEqual(keys.map((key) => rowAfterKey(key, 5, frame)), [6, 4, 14, 0, 0, 9999, undefined, undefined]);
  assert.equal(rowAfterKey("ArrowDown", 0, { ...frame, count: 0 }), undefined);
});

test("an address says what is looked at, whatever it is called", () => {
  for (const name of ["lobby", "presence:a/b", "#/?&%", "\u202Eü 😀", "constructor"]) {
    assert.deepEqual(readRoute(hashOf({ view: "channel", channel: name })), { view: "channel", channel: name });
    assert.deepEqual(readRoute(hashOf({ view: "user", userId: name })), { view: "user", userId: name });
  }
  for (const wrong of ["", "#", "#/", "#/channels", "#/channels/", "#/users/%", "#/other/x"]) {
    assert.deepEqual(readRoute(wrong), { view: "channels" }, wrong);
  }
  assert.equal(hashOf({ view: "user", userId: "half \ud800" }), "#/users/half%20%EF%BF%BD");
});

test("what cannot be seen is named, and numbers are short", () => {
  assert.equal(visible("a\u202Eb\u0000\u200Bc"), "a⟨U+202E⟩b⟨U+0000⟩⟨U+200B⟩c");
  assert.equal(visible("👩\u200D🚀 مرحبا می\u200Cخواهم"), "👩\u200D🚀 مرحبا می\u200Cخواهم", "scripts and emoji need joiners");
  assert.equal(stateLine({ a: "\u2066<b>" }), '{"a":"⟨U+2066⟩<b>"}');
  assert.deepEqual([null, 0, 0.02, 1.25, 12.5, 12_345].map(formatRate), ["–", "0", "<0.1", "1.3", "13", "12,345"]);
  assert.deepEqual([-5, 59_000, 61_000, 3_600_000, 5_000_000, 260_000_000].map(formatAge), ["0 s", "59 s", "1 min", "1 h", "1 h 23 min", "3 d"]);
  assert.deepEqual(["presence:x", "x", "presence:presence:x"].map(bareName), ["x", "x", "presence:x"]);
});
