/**
 * Asks before a user or a connection is removed, for how long it is kept out, and tells what came of it.
 */
import { find, sentence, setName, setText } from "./page.js";
import { plural } from "./text.js";

/**
 * @typedef {object} Removal
 * @property {string} title
 * @property {string} name who or what is removed
 * @property {string} channel from where, or nothing: from the server
 * @property {string} text what it means
 * @property {string} verb
 * @property {(forMs: number) => Promise<{ connections: number }>} remove
 */

/** @param {Removal} removal */
export function confirmRemoval({ title, name, channel, text, verb, remove }) {
  const dialog = find("removal-dialog", HTMLDialogElement);
  const confirm = find("removal-confirm", HTMLButtonElement);
  const time = find("removal-time", HTMLSelectElement);
  const close = find("removal-close", HTMLButtonElement);
  const error = find("removal-error", HTMLElement);
  const done = find("removal-done", HTMLElement);
  setText(find("removal-title", HTMLElement), title);
  setName(find("removal-name", HTMLElement), name);
  const where = find("removal-where", HTMLElement);
  where.hidden = channel === "";
  setName(/** @type {Element} */ (where.lastElementChild), channel);
  setText(find("removal-text", HTMLElement), text);
  setText(confirm, verb);
  time.value = "60000";
  error.hidden = done.hidden = true;
  confirm.disabled = confirm.hidden = false;
  find("removal-form", HTMLFormElement).onsubmit = async (event) => {
    event.preventDefault();
    confirm.disabled = error.hidden = true;
    try {
      const { connections } = await remove(Number(time.value));
      setText(done, connections > 0 ? `Removed ${plural(connections, "connection", "connections")}.` : NOBODY);
      done.hidden = false;
      confirm.hidden = true;
      setText(close, "Close");
      close.focus();
    } catch (failure) {
      setText(error, sentence(failure));
      error.hidden = confirm.disabled = false;
    }
  };
  setText(close, "Cancel");
  dialog.showModal();
}

const NOBODY = "There was no connection to remove. It is kept out all the same.";
