// A message at the lower edge of the window, near the thumb.

const $ = (id) => document.getElementById(id);
const SUCCESS_STAYS = 8000; // milliseconds; a failure stays until it is closed
let timer;

/** Shows a message, and a sentence below it. `kind` is "connected", "failed" or "note"; `action` is a button: { label, run }. */
export function toast(title, { text = "", kind = "note", action } = {}) {
  clearTimeout(timer);
  const made = $("toast-template").content.firstElementChild.cloneNode(true);
  made.dataset.kind = kind;
  made.querySelector(".what").textContent = title;
  made.querySelector(".text").textContent = text;
  const button = made.querySelector(".action");
  button.hidden = !action;
  button.textContent = action?.label ?? "";
  button.addEventListener("click", () => {
    close();
    action.run();
  });
  made.querySelector(".close").addEventListener("click", close);
  $("toasts").replaceChildren(made);
  if (kind === "failed") return;
  const stays = () => { timer = setTimeout(close, SUCCESS_STAYS); };
  made.addEventListener("pointerenter", () => clearTimeout(timer));
  made.addEventListener("pointerleave", stays);
  stays();
}

export function close() {
  clearTimeout(timer);
  $("toasts").replaceChildren();
}
