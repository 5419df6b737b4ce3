/**
 * Why a user is, or is not, in a channel, in the sentences of the server.
 */
import { element, find, sentence, setText } from "./page.js";
import { formatClock, visible } from "./text.js";

/** @typedef {{ summary: string, events: { sentence: string }[], completeSince: string }} Explanation */

/** @param {import("./api.js").Api} api @param {string} channel @param {string} userId */
export function explain(api, channel, userId) {
  const dialog = find("why-dialog", HTMLDialogElement);
  const form = find("why-form", HTMLFormElement);
  const channelField = find("why-channel", HTMLInputElement);
  const userField = find("why-user", HTMLInputElement);
  channelField.value = channel;
  userField.value = userId;
  find("why-answer", HTMLElement).hidden = find("why-error", HTMLElement).hidden = true;
  form.onsubmit = (event) => {
    event.preventDefault();
    void ask(api, channelField.value, userField.value);
  };
  if (!dialog.open) dialog.showModal();
  if (channel && userId) form.requestSubmit();
  else (channel ? userField : channelField).focus();
}

/** @param {import("./api.js").Api} api @param {string} channel @param {string} userId */
async function ask(api, channel, userId) {
  const error = find("why-error", HTMLElement);
  const answer = find("why-answer", HTMLElement);
  error.hidden = true;
  try {
    show(await api.explain(channel, userId));
    answer.hidden = false;
  } catch (failure) {
    answer.hidden = true;
    setText(error, sentence(failure));
    error.hidden = false;
  }
}

/** The sentences name users and rules as they are called. @param {Explanation} explanation */
function show({ summary, events, completeSince }) {
  setText(find("why-summary", HTMLElement), visible(summary));
  const lines = events.map((event) => element("li", "", visible(event.sentence)));
  find("why-events", HTMLElement).replaceChildren(...lines);
  setText(find("why-since", HTMLElement), `The records begin at ${formatClock(Date.parse(completeSince))}.`);
}
