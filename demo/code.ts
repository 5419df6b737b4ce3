/**
 * The ten lines of code behind the page, for whom it shows them. They run as they stand: the browser tests run them.
 */
import { find, setText } from "./page.js";

/** Where the code is used: the channel and the user of this window. */
export interface Place {
  channel: string;
  userId: string;
  name: string;
}

/** The button opens the code as it is for this window at that moment. */
export function wireCode(place: () => Place): void {
  const dialog = find<HTMLDialogElement>("code");
  find("show-code").addEventListener("click", () => {
    setText(find("lines"), codeOf(place()));
    dialog.showModal();
  });
}

function codeOf({ channel, userId, name }: Place): string {
  const [user, room, own] = [userId, channel, name].map((text) => JSON.stringify(text));
  return `import { createClient } from "/sdk/index.js";

const request = { method: "POST", body: JSON.stringify({ userId: ${user} }) };
const getToken = async () => (await (await fetch("/dev/token", request)).json()).token;
const client = createClient(location.origin, { getToken });
const presence = client.realtime.presence(${room});

presence.onSync((users) => console.log(users.map(({ state }) => state.name)));
presence.onJoin((userId, connectionId, { name }) => console.log(name, "joined"));
presence.onLeave((userId, connectionId, { reason }) => console.log(userId, "left:", reason));
addEventListener("pointermove", ({ clientX: x, clientY: y }) =>
  presence.track({ name: ${own}, cursor: { x: x / innerWidth, y: y / innerHeight } }));
`;
}
