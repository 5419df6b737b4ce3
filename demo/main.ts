/**
 * The demo: live cursors and who is here, on the real SDK. Turns what happens in this window into the state that is
 * tracked, and what others track into what is shown.
 */
import { type Client, createClient, MAX_STATE_BYTES, type Presence, type Status, type User } from "herenow";
import { settling, watchAway, watchPointer, watchWords } from "./activity.js";
import { wireCode } from "./code.js";
import { identity, remember } from "./identity.js";
import { note, noteMove } from "./log.js";
import { find, setText } from "./page.js";
import { readName, readSays, readShown, type Shown } from "./state.js";
import { showCursors, showPeople } from "./view.js";

/** Words stand beside a cursor for this long, in ms. */
const SAYS_MS = 6_000;

const me = identity();
const channel = channelOfHash();
const shown: Shown = { name: me.name, hue: me.hue, typing: false, away: document.hidden, says: "", cursor: null };

/** What each connection was last seen to show: an event tells what is new, and the one who left is in no list. */
const seen = new Map<string, Shown>();

let client: Client | undefined;
let presence: Presence<Shown> | undefined;

/** The development server trusts this machine. A real page asks its own backend, which knows who is signed in. */
async function getToken(): Promise<string> {
  const answer = await fetch("/dev/token", { method: "POST", body: JSON.stringify({ userId: me.userId }) });
  if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
  return ((await answer.json()) as { token: string }).token;
}

function goOnline(): void {
  try {
    connect();
  } catch (error) {
    // The address may name what no channel is called.
    note("failed", error instanceof Error ? error.message : String(error));
    goOffline();
  }
}

function connect(): void {
  client = createClient(location.origin, { getToken });
  client.onStatus(showStatus);
  client.onError(({ code, message }) => note("failed", `${code}: ${message}`));
  presence = client.realtime.presence<Shown>(channel);
  presence.onJoin((userId, connectionId, state, { first }) => {
    const { name } = see(connectionId, state);
    if (first && !isOwn(userId)) note("came", `${name} came`);
  });
  presence.onUpdate((userId, connectionId, state) => {
    const before = seen.get(connectionId);
    const now = see(connectionId, state);
    if (before && !isOwn(userId)) noteChange(before, now);
  });
  presence.onLeave((userId, connectionId, { reason, last }) => {
    const name = seen.get(connectionId)?.name ?? userId;
    if (last && !isOwn(userId)) note("went", `${name} left (${reason})`);
  });
  presence.onSync(showUsers);
  show();
}

function goOffline(): void {
  client?.close();
  client = presence = undefined;
  showUsers([]);
}

/** Whether it is the user of this window, in whichever tab. */
function isOwn(userId: string): boolean {
  return userId === client?.me?.userId;
}

function see(connectionId: string, state: object): Shown {
  const now = readShown(state);
  seen.set(connectionId, now);
  return now;
}

function noteChange(before: Shown, now: Shown): void {
  if (before.name !== now.name) note("changed", `${before.name} is now ${now.name}`);
  else if (before.away !== now.away) note("changed", `${now.name} is ${now.away ? "away" : "back"}`);
  else if (!before.typing && now.typing) note("changed", `${now.name} is typing`);
  else if (before.says !== now.says && now.says) note("changed", `${now.name}: “${now.says}”`);
  // A cursor that is gone has not moved: its user has left the stage, or loads the page again.
  else if (now.cursor && (before.cursor?.x !== now.cursor.x || before.cursor?.y !== now.cursor.y)) noteMove(now.name);
}

function showUsers(users: readonly User<Shown>[]): void {
  seen.clear();
  for (const { connections } of users) {
    for (const { connectionId, state } of connections) see(connectionId, state);
  }
  showPeople(users);
  showCursors(users);
  find("alone").hidden = seen.size !== 1;
  find("gone").hidden = client !== undefined;
}

const STATUS: Record<Status, string> = {
  idle: "Starting…",
  connecting: "Connecting…",
  connected: "Connected",
  unstable: "Unstable…",
  reconnecting: "Reconnecting…",
  failed: "Refused",
  closed: "Offline",
};

const STATUS_NOTES: Partial<Record<Status, string>> = {
  connected: "You are connected",
  reconnecting: "The connection is lost, trying again",
  failed: "The server refused this page",
  closed: "You went offline",
};

function showStatus(status: Status): void {
  const pill = find("status");
  if (pill.dataset["status"] === status) return;
  pill.dataset["status"] = status;
  setText(pill, STATUS[status]);
  const told = STATUS_NOTES[status];
  if (told) note("you", told);
}

/** Tracks what this window shows. */
function show(): void {
  const json = JSON.stringify(shown);
  const bytes = new TextEncoder().encode(json).length;
  setText(find("state"), json);
  setText(find("bytes"), String(bytes));
  find("meter").style.setProperty("--part", String(bytes / MAX_STATE_BYTES));
  presence?.track({ ...shown });
}

function change(part: Partial<Shown>): void {
  const keys = Object.keys(part) as (keyof Shown)[];
  if (keys.every((key) => shown[key] === part[key])) return;
  Object.assign(shown, part);
  show();
}

/** The address names the channel, so that a link leads to the same one. */
function channelOfHash(): string {
  const hash = location.hash.slice(1);
  try {
    return decodeURIComponent(hash) || "lobby";
  } catch {
    return hash;
  }
}

function wireName(): void {
  const name = find<HTMLInputElement>("name");
  name.value = me.name;
  name.addEventListener("input", () => {
    me.name = readName(name.value);
    remember(me);
    change({ name: me.name });
  });
  name.addEventListener("blur", () => (name.value = me.name));
  find("rename").addEventListener("submit", (event) => {
    event.preventDefault();
    name.blur();
  });
}

function wireButtons(): void {
  // Without an opener the new window starts with an empty session, and is somebody else.
  find("another").addEventListener("click", () => window.open(location.href, "_blank", "noopener"));
  const toggle = find("offline");
  toggle.addEventListener("click", () => {
    if (client) goOffline();
    else goOnline();
    setText(toggle, client ? "Go offline" : "Go online");
  });
}

function start(): void {
  setText(find("channel"), channel);
  addEventListener("hashchange", () => location.reload());
  wireName();
  wireButtons();
  wireCode(() => ({ channel, userId: me.userId, name: me.name }));
  watchPointer(find("stage"), (cursor) => change({ cursor }));
  watchAway((away) => change({ away }));
  const fallSilent = settling(SAYS_MS, () => change({ says: "" }));
  watchWords(
    (typing) => change({ typing }),
    (words) => {
      change({ says: readSays(words) });
      fallSilent();
    },
  );
  goOnline();
}

start();
