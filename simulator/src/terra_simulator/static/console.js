// Keeps the console up to date, and carries out its actions without leaving the place. Its links and forms work without
// this script, too: then they load the page.

const PAUSE_MS = 1000;
const TOAST_MS = 8000;
const main = document.querySelector("main");
const toast = document.getElementById("toast");
const offline = document.getElementById("offline");
const live = document.getElementById("live");
let etag = "";
let turn = 0;
let timer;

/** Reads the page at the current address, if it has changed. */
async function refresh() {
  const mine = ++turn;
  try {
    const response = await fetch(location.href, { headers: etag ? { "If-None-Match": etag } : {}, cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (mine !== turn) return;
    if (response.status === 200) {
      show(await response.text());
      etag = response.headers.get("ETag");
    } else if (response.status !== 304) {
      throw new Error(`the console cannot be loaded: ${response.status}`);
    }
    setOnline(true);
  } catch (error) {
    if (mine === turn) setOnline(false);
  }
}

function show(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  morph(main, page.querySelector("main"));
  return page;
}

function setOnline(isOnline) {
  live.hidden = !isOnline;
  const text = isOnline ? "" : "The simulator cannot be reached. This page shows its last known state, and tries again.";
  if (offline.textContent !== text) offline.textContent = text;
}

function say(text, kind = "good") {
  toast.textContent = text;
  toast.dataset.kind = kind;
  clearTimeout(timer);
  timer = setTimeout(() => { toast.textContent = ""; }, TOAST_MS);
}

/** Goes to another view of the page. */
async function go(address) {
  history.pushState(null, "", address);
  etag = "";
  await refresh();
  document.getElementById("search-form").reset();
}

async function send(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  button.setAttribute("aria-busy", "true");
  const menu = form.closest("[popover]");
  menu?.hidePopover();
  try {
    const response = await fetch(form.action, { method: "POST", body });
    const mine = ++turn;
    const html = await response.text();
    if (response.ok) {
      if (mine === turn) say(show(html).getElementById("toast").textContent);
      etag = "";
      if (menu) form.reset();
    } else {
      say(new DOMParser().parseFromString(html, "text/html").getElementById("explanation").textContent, "bad");
    }
  } catch {
    setOnline(false);
    say("Nothing was done: the simulator cannot be reached.", "bad");
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Makes an element equal to another one. Elements that are the same stay, with their focus, scroll position, open menus and entered text. */
function morph(from, to) {
  if (from.isEqualNode(to)) return;
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name) && !isOwn(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value && !isOwn(name)) from.setAttribute(name, value);
  const ids = new Set([...to.children].map(({ id }) => id));
  const known = new Map();
  for (const child of [...from.children]) {
    if (child.id && !ids.has(child.id)) child.remove();
    else if (child.id) known.set(child.id, child);
  }
  let at = from.firstChild;
  for (const next of [...to.childNodes]) {
    const same = next.id ? known.get(next.id) : at && !at.id && at.nodeName === next.nodeName ? at : undefined;
    if (!same) {
      from.insertBefore(next, at);
      continue;
    }
    if (same !== at) from.insertBefore(same, at);
    if (same.nodeType === Node.ELEMENT_NODE) morph(same, next);
    else if (same.nodeValue !== next.nodeValue) same.nodeValue = next.nodeValue;
    at = same.nextSibling;
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** What the user or this script sets, and not the simulator. */
function isOwn(name) {
  return name === "open" || name === "aria-busy";
}

main.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/?']");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
main.addEventListener("submit", (event) => {
  event.preventDefault();
  if (event.target.method === "get") go(`/?${new URLSearchParams(new FormData(event.target))}`);
  else if (event.submitter.getAttribute("aria-busy") !== "true") send(event.target, event.submitter);
});
main.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const menu = event.target.closest(".menu");
  if (!step || !menu || event.target.matches("input, select")) return;
  event.preventDefault();
  const items = [...menu.querySelectorAll("button, summary")].filter((item) => item.checkVisibility());
  items.at((items.indexOf(event.target) + step) % items.length).focus();
});
// A menu that is opened gets the focus, so that the arrow keys work at once.
main.addEventListener("toggle", ({ target, newState }) => {
  if (newState === "open" && target.matches(".menu")) target.querySelector("fieldset button, input:not([type=hidden])").focus();
}, true);
addEventListener("popstate", () => { etag = ""; refresh(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, PAUSE_MS);
}

const here = new URL(location.href);
if (here.searchParams.has("notice")) {
  here.searchParams.delete("notice");
  history.replaceState(null, "", here);
  say(toast.textContent);
}
poll();
