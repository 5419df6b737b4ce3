/**
 * Why a user is, or is not, in a channel, in the sentences of the server.
 */
import { element, find, sentence, setText } from "./page.js";
import { visible } from "./text.js";

/** @param {import("./api.js").Api} api @param {string} channel @param {string} userId */
export function explain(api, channel, userId) {
  const dialog = find("why-dialog", HTMLDialogElement);
  const form = find("why-form", HTMLFormElement);
  const channelField = find("why-channel", HTMLInputElement);
  const userField = find("why-user", HTMLInputElement);
  channelField.value = channel;
  userField.value = userId;
  find("why-answer", HTMLElement).replaceChildren();
  find("why-error", HTMLElement).hidden = true;
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
    const said = sentencesOf(await api.explain(channel, userId));
    answer.replaceChildren(...said.map((text) => element("li", "", visible(text))));
  } catch (failure) {
    answer.replaceChildren();
    setText(error, sentence(failure));
    error.hidden = false;
  }
}

/** @param {any} explanation @returns {string[]} */
function sentencesOf(explanation) {
  return explanation.sentences;
}
