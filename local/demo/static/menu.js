// A menu button: a list of actions in a popover, with the keys of the ARIA menu pattern.

/** Connects a button with its menu, an element with the attribute popover. */
export function menu(button, list) {
  const items = () => [...list.querySelectorAll("[role=menuitem]")];
  button.popoverTargetElement = list;
  list.addEventListener("beforetoggle", ({ newState }) => button.setAttribute("aria-expanded", newState === "open"));
  list.addEventListener("toggle", ({ newState }) => {
    if (newState !== "open") return;
    const at = button.getBoundingClientRect(), room = innerHeight - at.bottom;
    list.style.left = `${Math.max(8, at.right - list.offsetWidth)}px`;
    list.style.top = `${room > list.offsetHeight + 8 ? at.bottom + 4 : at.top - list.offsetHeight - 4}px`;
    items()[0].focus();
  });
  list.addEventListener("keydown", (event) => {
    const all = items(), place = all.indexOf(document.activeElement), { length } = all;
    const next = { ArrowDown: place + 1, ArrowUp: place - 1 + length, Home: 0, End: length - 1 }[event.key];
    if (event.key === "Tab") list.hidePopover();
    if (next === undefined) return;
    event.preventDefault();
    all[next % length].focus();
  });
  list.addEventListener("click", () => list.hidePopover());
  addEventListener("scroll", () => list.matches(":popover-open") && list.hidePopover(), { passive: true });
}
