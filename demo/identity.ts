/**
 * Who this tab is: a name, a colour and a user id of its own, kept while the tab lives. Every tab is somebody else, so
 * that two windows show two people.
 */
const FIRST = ["Amber", "Bright", "Calm", "Clever", "Gentle", "Golden", "Lively", "Merry", "Quick", "Quiet", "Silver", "Sunny"];
const SECOND = ["Badger", "Crane", "Finch", "Fox", "Heron", "Lark", "Lynx", "Otter", "Owl", "Robin", "Swift", "Wren"];

export interface Identity {
  userId: string;
  name: string;
  hue: number;
}

const KEY = "herenow-demo-identity";

export function identity(): Identity {
  const known = read();
  if (known) return known;
  const pick = (words: readonly string[]): string => words[Math.floor(Math.random() * words.length)] ?? "Somebody";
  const fresh = {
    userId: `guest-${crypto.randomUUID().slice(0, 8)}`,
    name: `${pick(FIRST)} ${pick(SECOND)}`,
    hue: Math.floor(Math.random() * 360),
  };
  remember(fresh);
  return fresh;
}

export function remember(identity: Identity): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(identity));
  } catch {
    // A browser that keeps nothing makes somebody new at each load.
  }
}

function read(): Identity | undefined {
  try {
    const { userId, name, hue } = JSON.parse(sessionStorage.getItem(KEY) ?? "{}") as Partial<Identity>;
    if (typeof userId === "string" && typeof name === "string" && typeof hue === "number") return { userId, name, hue };
  } catch {
    // What cannot be read was not written here.
  }
  return undefined;
}
