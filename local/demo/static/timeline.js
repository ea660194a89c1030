// The timeline beside the app: the stack's requests, webhooks and items, which only a local stack exposes.

const $ = (id) => document.getElementById(id);
const { terra } = await (await fetch("config.json")).json();
const known = new Map();
const time = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
$("console").href = terra;

async function refresh() {
  const referenceId = localStorage.getItem("account");
  if (document.hidden || !referenceId) return;
  const response = await fetch(`timeline.json?${new URLSearchParams({ reference_id: referenceId })}`);
  if (!response.ok) throw new Error(`the timeline cannot be loaded: ${response.status}`);
  const { events, items } = await response.json();
  showEvents(events);
  showItems(items);
}

/** Shows the latest login from its start, and the earlier events below it. */
function showEvents(events) {
  const start = events.findLastIndex(({ title }) => title.startsWith("POST /sessions"));
  const latest = start < 0 ? events : events.slice(start);
  $("steps").hidden = events.length > 0;
  fill("events", latest.map((event) => entry(event, latest[0].at)));
  $("earlier").hidden = start <= 0;
  fill("earlier-events", events.slice(0, Math.max(start, 0)).map((event) => entry(event, event.at)));
}

function entry({ key, at, way, title, explanation, detail }, from) {
  const row = known.get(key) ?? $("event").content.firstElementChild.cloneNode(true);
  known.set(key, row);
  row.dataset.way = way;
  const past = at > from ? `+${((at - from) / 1000).toFixed(2)} s` : time.format(at);
  write(row, { way, past, title, explanation, detail: JSON.stringify(detail, null, 2) });
  return row;
}

function showItems(items) {
  for (const [table, found] of Object.entries(items)) {
    const rows = found.map((item) => {
      const key = item.session_id ?? item.user_id;
      const row = known.get(table + key) ?? $("item").content.firstElementChild.cloneNode(true);
      known.set(table + key, row);
      write(row, { name: key, gist: gist(item), detail: JSON.stringify(item, null, 2) });
      return row;
    });
    fill(table, rows);
    $(`${table}-none`).hidden = rows.length > 0;
  }
}

function gist({ facts, resource, confirmed_user_ids: confirmed, failed_reasons: failed }) {
  if (facts) return Object.keys(facts).join(" · ");
  return [resource ?? "widget", confirmed && "confirmed", failed && "failed"].filter(Boolean).join(" · ");
}

// Neither touches unchanged elements, so opened, selected and focused ones stay so.

function fill(list, rows) {
  const { children } = $(list);
  if (children.length !== rows.length || rows.some((row, place) => children[place] !== row)) $(list).replaceChildren(...rows);
}

function write(row, texts) {
  for (const [part, text] of Object.entries(texts)) {
    const place = row.querySelector(`.${part}`);
    if (place.textContent !== text) place.textContent = text;
  }
}

async function poll() {
  await refresh().catch(console.warn);
  setTimeout(poll, 1000);
}
poll();
