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

const claims = { userId: ${user}, presence: { info: { name: ${own} } } };
const request = { method: "POST", body: JSON.stringify(claims) };
const getToken = async () => (await (await fetch("/dev/token", request)).json()).token;
const presence = createClient(location.origin, { getToken }).realtime.presence(${room});

presence.onSync((users) => console.log(users.map(({ info }) => info?.name)));
presence.onJoin((userId, connectionId, state, { info }) => console.log(info?.name, "joined"));
presence.onLeave((userId, connectionId, { reason }) => console.log(userId, "left:", reason));
addEventListener("pointermove", ({ clientX: x, clientY: y }) =>
  presence.track({ cursor: { x: x / innerWidth, y: y / innerHeight } }));
`;
}
