/**
 * What is looked at, as the part of the address behind `#`: a page can be sent to a colleague. Pure.
 */

/**
 * @typedef {{ view: "channels" }
 *   | { view: "channel", channel: string }
 *   | { view: "user", userId: string }} Route
 */

/** Anything that is no route shows the channels. @param {string} hash @returns {Route} */
export function readRoute(hash) {
  const match = /^#\/(channels|users)\/(.+)$/s.exec(hash);
  const name = match?.[2] === undefined ? undefined : decoded(match[2]);
  if (!name) return { view: "channels" };
  return match?.[1] === "users" ? { view: "user", userId: name } : { view: "channel", channel: name };
}

/** @param {Route} route */
export function hashOf(route) {
  switch (route.view) {
    case "channels":
      return "#/channels";
    case "channel":
      return `#/channels/${encoded(route.channel)}`;
    case "user":
      return `#/users/${encoded(route.userId)}`;
  }
}

/** A part of a path. Half a surrogate pair, which only the keyboard can give, is replaced. @param {string} text */
export function encoded(text) {
  return encodeURIComponent(new TextDecoder().decode(new TextEncoder().encode(text)));
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
