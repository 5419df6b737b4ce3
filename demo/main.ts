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
import { readName, readSays, readShown, type Shown, type Tracked } from "./state.js";
import { showCursors, showPeople } from "./view.js";

/** From the last key in the name to the token that says it, in ms: the server verifies few tokens a second. */
const RENAME_MS = 400;

/** Words stand beside a cursor for this long, in ms. */
const SAYS_MS = 6_000;

const me = identity();
const channel = channelOfHash();
const shown: Tracked = { hue: me.hue, typing: false, away: document.hidden, says: "", cursor: null };

/** What each connection was last seen to show: an event tells what is new, and the one who left is in no list. */
const seen = new Map<string, Shown>();

let client: Client | undefined;
let presence: Presence<Tracked> | undefined;

/** What the token says of the user to others: no page can set it without a token. */
const infoOfMe = (): { name: string } => ({ name: me.name });

/** The development server trusts this machine. A real page asks its own backend, which knows who is signed in. */
async function getToken(): Promise<string> {
  const claims = { userId: me.userId, presence: { info: infoOfMe() } };
  const answer = await fetch("/dev/token", { method: "POST", body: JSON.stringify(claims) });
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
  presence = client.realtime.presence<Tracked>(channel);
  presence.onJoin((userId, connectionId, state, { first, info }) => {
    const { name } = see(connectionId, readShown(userId, { state, info }));
    if (first && !isOwn(userId)) note("came", `${name} came`);
  });
  presence.onUpdate((userId, connectionId, state, { info }) => {
    const before = seen.get(connectionId);
    const now = see(connectionId, readShown(userId, { state, info }));
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

function see(connectionId: string, now: Shown): Shown {
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

function showUsers(users: readonly User<Tracked>[]): void {
  seen.clear();
  for (const { userId, connections } of users) {
    for (const connection of connections) see(connection.connectionId, readShown(userId, connection));
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

function change(part: Partial<Tracked>): void {
  const keys = Object.keys(part) as (keyof Tracked)[];
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
  showInfo();
  // The next token says the new name, on the same connection.
  const renew = settling(RENAME_MS, () => client?.refresh());
  name.addEventListener("input", () => {
    me.name = readName(name.value) || me.userId;
    remember(me);
    showInfo();
    renew();
  });
  name.addEventListener("blur", () => (name.value = me.name));
  find("rename").addEventListener("submit", (event) => {
    event.preventDefault();
    name.blur();
  });
}

function showInfo(): void {
  setText(find("info"), JSON.stringify(infoOfMe()));
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
