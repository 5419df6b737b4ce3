/**
 * The console: opens with a key, and shows what the address names. Knows which view is seen and how one leads to
 * another; what a view shows is its own.
 */
import { Api, ApiError } from "./api.js";
import { ChannelView } from "./channel_view.js";
import { ChannelsView } from "./channels_view.js";
import { find, sentence, setText } from "./page.js";
import { hashOf, readRoute } from "./route.js";
import { askForKey, developmentKey, forgetKey, storedKey } from "./session.js";
import { formatClock, visible } from "./text.js";
import { UserView } from "./user_view.js";
import { explain } from "./why.js";

/** @type {Api | undefined} */
let api;
let keyInUse = "";
let session = new AbortController();
/** When the server answered no more; 0 while it does. */
let lostAtMs = 0;

const channels = new ChannelsView({ open: openChannel, reached, failed });
const channel = new ChannelView({ openUser, explain: explainIn, refused });
const user = new UserView({ openChannel, explain: explainIn, refused });

/** @param {string} name */
function openChannel(name) {
  location.hash = hashOf({ view: "channel", channel: name });
}

/** @param {string} userId */
function openUser(userId) {
  location.hash = hashOf({ view: "user", userId });
}

/** @param {string} name @param {string} userId */
function explainIn(name, userId) {
  if (api) explain(api, name, userId);
}

function reached() {
  lostAtMs = 0;
  setStatus("good", "Connected");
}

/** @param {unknown} error */
function failed(error) {
  if (refused(error)) return;
  lostAtMs ||= Date.now();
  // A server that is too busy to answer is there all the same.
  const isGone = !(error instanceof ApiError) || error.code === "UNREACHABLE";
  setStatus("bad", `${isGone ? "Disconnected" : "Not up to date"} since ${formatClock(lostAtMs)}: ${sentence(error)}`);
}

/** A key that is refused is asked for again. @param {unknown} error */
function refused(error) {
  if (!(error instanceof ApiError) || error.code !== "UNAUTHORIZED") return false;
  if (!session.signal.aborted) void openWithNewKey(error.message);
  return true;
}

/** @param {string} status @param {string} text */
function setStatus(status, text) {
  const shown = find("status", HTMLElement);
  shown.dataset["status"] = status;
  setText(shown, text);
}

/** @param {string} why */
async function openWithNewKey(why) {
  close();
  forgetKey();
  setStatus("wait", "Needs a key");
  // A development server that was started again has another one.
  const given = await developmentKey();
  open(given !== undefined && given !== keyInUse ? given : await askForKey(why));
}

/** @param {string} key */
function open(key) {
  session = new AbortController();
  api = new Api(key);
  keyInUse = key;
  setStatus("wait", "Connecting…");
  find("main", HTMLElement).hidden = false;
  void channels.start(api, session.signal);
  show();
}

function close() {
  session.abort();
  api = undefined;
  channel.close();
  user.close();
  // What was seen with a key is not seen without it.
  find("main", HTMLElement).hidden = true;
  for (const dialog of document.querySelectorAll("dialog")) dialog.close();
}

function show() {
  if (!api) return;
  const route = readRoute(location.hash);
  channel.close();
  user.close();
  find("main", HTMLElement).dataset["view"] = route.view;
  find("channel", HTMLElement).hidden = route.view !== "channel";
  find("user", HTMLElement).hidden = route.view !== "user";
  find("nothing", HTMLElement).hidden = route.view !== "channels";
  if (route.view === "channel") {
    channels.mark(wireName(route.channel));
    channel.open(api, route.channel);
  }
  if (route.view === "user") user.open(api, route.userId);
  document.title = `${titleOf(route)}Herenow console`;
}

/** The keyboard goes on where the eye does. */
function arrive() {
  show();
  const { view } = readRoute(location.hash);
  if (view === "channels") channels.focusList();
  else find(`${view}-title`, HTMLElement).focus({ preventScroll: true });
}

/** @param {import("./route.js").Route} route */
function titleOf(route) {
  if (route.view === "channels") return "";
  return `${visible(route.view === "channel" ? route.channel : route.userId)} – `;
}

/** @param {string} name */
function wireName(name) {
  return name.startsWith("presence:") ? name : `presence:${name}`;
}

function goBack() {
  location.hash = hashOf({ view: "channels" });
}

/** @param {KeyboardEvent} event */
function press(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  const field = event.target instanceof HTMLInputElement && event.target.type === "search" ? event.target : undefined;
  if (event.key === "/" && !field) {
    event.preventDefault();
    channels.focusFilter();
  }
  // The first Escape in a field empties it, as browsers do.
  if (event.key === "Escape" && !field?.value) goBack();
}

find("find-user", HTMLFormElement).addEventListener("submit", (event) => {
  event.preventDefault();
  const field = find("user-id", HTMLInputElement);
  if (field.value) openUser(field.value);
  field.value = "";
});
find("forget", HTMLButtonElement).addEventListener("click", () => {
  forgetKey();
  // Nothing that was read with it stays in memory.
  location.reload();
});
for (const button of document.querySelectorAll("button.back")) button.addEventListener("click", goBack);
for (const button of document.querySelectorAll("dialog button.close")) {
  button.addEventListener("click", () => button.closest("dialog")?.close());
}
addEventListener("keydown", press);
addEventListener("hashchange", arrive);
setStatus("wait", "Needs a key");
open((await developmentKey()) ?? storedKey() ?? (await askForKey("")));
