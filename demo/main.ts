/**
 * The demo: live cursors and who is here, on the real SDK. Turns what happens in this window into state that is
 * tracked, and what is tracked by others into what is shown.
 */
import { type Client, createClient, type Presence, type Status } from "herenow";
import { identity, remember } from "./identity.js";
import { readShown, type Shown } from "./state.js";
import { find, note, showCursors, showPeople } from "./view.js";

const IDLE_MS = 60_000;
const TYPING_MS = 2_000;
const SAYS_MS = 5_000;
/** About thirty moves a second: smooth, and well below what the server takes from one connection. */
const MOVE_EVERY_MS = 33;

const me = identity();
const channel = decodeURIComponent(location.hash.slice(1)) || "lobby";
const shown: Shown = { name: me.name, hue: me.hue, typing: false, away: false, says: "", cursor: null };
const names = new Map<string, string>();

let client: Client | undefined;
let presence: Presence<Shown> | undefined;

async function getToken(): Promise<string> {
  const answer = await fetch("/dev/token", { method: "POST", body: JSON.stringify({ userId: me.userId }) });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return ((await answer.json()) as { token: string }).token;
}

function goOnline(): void {
  client = createClient(location.origin, { getToken });
  presence = client.realtime.presence<Shown>(channel);
  presence.onStatus(showStatus);
  presence.onError(({ code, message }) => note(`${code}: ${message}`));
  presence.onSync((users) => {
    for (const { userId, state } of users) names.set(userId, readShown(state).name);
    showPeople(users, me.userId);
    showCursors(users, me.userId);
  });
  presence.onJoin((userId, _, state, { first }) => {
    if (first && userId !== me.userId) note(`${readShown(state).name} came`);
  });
  presence.onUpdate((userId, _, state) => {
    const { name } = readShown(state);
    const before = names.get(userId);
    if (before !== undefined && before !== name) note(`${before} is now ${name}`);
  });
  presence.onLeave((userId, _, { reason, last }) => {
    if (last && userId !== me.userId) note(`${names.get(userId) ?? userId} left (${reason})`);
  });
  show();
}

function goOffline(): void {
  client?.close();
  client = presence = undefined;
  showPeople([], me.userId);
  showCursors([], me.userId);
}

const STATUS: Record<Status, string> = {
  idle: "Starting",
  connecting: "Connecting…",
  connected: "Connected",
  reconnecting: "Reconnecting…",
  failed: "Refused",
  closed: "Offline",
};

function showStatus(status: Status): void {
  const pill = find("status");
  if (pill.dataset["status"] === status) return;
  pill.dataset["status"] = status;
  pill.textContent = STATUS[status];
  if (status !== "idle" && status !== "connecting") note(`you: ${STATUS[status].toLowerCase().replace("…", "")}`);
}

/** Tracks what this window shows. */
function show(): void {
  find("bytes").textContent = String(new TextEncoder().encode(JSON.stringify(shown)).length);
  presence?.track({ ...shown });
}

/** Calls `then` once nothing has called this for a while. */
function settling(afterMs: number, then: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(then, afterMs);
  };
}

function change(part: Partial<Shown>): void {
  const keys = Object.keys(part) as (keyof Shown)[];
  if (keys.every((key) => shown[key] === part[key])) return;
  Object.assign(shown, part);
  show();
}

const stage = find("stage");
let moved = 0;
let pending: Shown["cursor"] | undefined;

function move(event: PointerEvent): void {
  const { left, top, width, height } = stage.getBoundingClientRect();
  const within = (value: number): number => Math.round(Math.min(1, Math.max(0, value)) * 1e4) / 1e4;
  const isWaiting = pending !== undefined;
  pending = { x: within((event.clientX - left) / width), y: within((event.clientY - top) / height) };
  if (!isWaiting) requestAnimationFrame(send);
}

function send(now: number): void {
  if (now - moved < MOVE_EVERY_MS) {
    requestAnimationFrame(send);
    return;
  }
  moved = now;
  const cursor = pending ?? null;
  pending = undefined;
  change({ cursor });
}

const stillHere = settling(IDLE_MS, () => change({ away: true }));
for (const event of ["pointermove", "pointerdown", "keydown"] as const) {
  addEventListener(event, () => {
    stillHere();
    if (!document.hidden) change({ away: false });
  });
}
document.addEventListener("visibilitychange", () => change({ away: document.hidden }));
stage.addEventListener("pointermove", move);
stage.addEventListener("pointerdown", move);
stage.addEventListener("pointerleave", () => {
  pending = undefined;
  change({ cursor: null });
});

const words = find<HTMLInputElement>("words");
const stopTyping = settling(TYPING_MS, () => change({ typing: false }));
const stopSaying = settling(SAYS_MS, () => change({ says: "" }));
words.addEventListener("input", () => {
  change({ typing: words.value !== "" });
  stopTyping();
});
find("say").addEventListener("submit", (event) => {
  event.preventDefault();
  change({ says: words.value.trim(), typing: false });
  words.value = "";
  stopSaying();
});

const name = find<HTMLInputElement>("name");
name.value = me.name;
name.addEventListener("input", () => {
  me.name = name.value.trim() || "Somebody";
  remember(me);
  change({ name: me.name });
});
find("rename").addEventListener("submit", (event) => {
  event.preventDefault();
  name.blur();
});

find("another").addEventListener("click", () => window.open(location.href, "_blank", "noopener"));
const offline = find("offline");
offline.addEventListener("click", () => {
  const isOnline = client !== undefined;
  if (isOnline) goOffline();
  else goOnline();
  offline.setAttribute("aria-pressed", String(isOnline));
  offline.textContent = isOnline ? "Go online" : "Go offline";
  if (isOnline) showStatus("closed");
});

find("channel").textContent = `presence:${channel}`;
addEventListener("hashchange", () => location.reload());
stillHere();
goOnline();
