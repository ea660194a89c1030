// <terra-connect> lets a user connect wearables through Terra Connections: docs/connect-component.md
const ENGLISH = {
	app: "This app",
	any: "your provider",
	search: "Search providers",
	none: "No provider matches “{name}”.",
	connect: "Connect {name}",
	another: "Connect another {name}",
	phone: "On your phone",
	needs_app: "Connect in our mobile app.",
	leaving: "You will sign in at {name}. {app} never sees your password.",
	wait: "Continue in the {name} tab",
	waitAny: "Continue in the other tab",
	blocked: "Your browser blocked the new tab",
	open: "Open again",
	cancel: "Cancel",
	connected: "{name} is connected",
	done: "Done",
	not: "{name} was not connected",
	access_denied: "You declined access. Nothing was shared.",
	missing_scopes: "Some permissions are missing. Please leave them on.",
	provider_error: "{name} reported an error. Please try again later.",
	unknown: "The login was not completed.",
	expired: "The login was not finished in time.",
	retry: "Try again",
	unloaded: "The providers could not be loaded",
	refused: "This is not possible right now.",
	signIn: "Please sign in again.",
	busy: "Please try again in a few minutes.",
};

const sheet = new CSSStyleSheet(); // allowed by every Content-Security-Policy
sheet.replaceSync(`
:host { --accent: var(--terra-accent, light-dark(#2f5bd0, #9db7ff)); --line: color-mix(in srgb, currentcolor 18%, #0000);
	display: block; overflow-wrap: anywhere; color: var(--terra-text); font-family: var(--terra-font) }
:host([hidden]) { display: none }
* { box-sizing: border-box; margin: 0; font: inherit; color: inherit }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
input, .tile, .button, .card { padding: .7rem; border: 1px solid var(--line); border-radius: var(--terra-radius, .75rem); background: var(--terra-background, none) }
ul { display: grid; grid: auto / repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .5rem; margin: .75rem 0; padding: 0 }
.busy { height: 12rem; background: repeating-linear-gradient(var(--line) 0 3.5rem, #0000 0 4rem) }
.tile { display: flex; align-items: center; gap: .6rem; height: 100%; text-align: start } .tile, input { width: 100% } .name { flex: 1 }
button { cursor: pointer } button:hover { border-color: var(--accent) }
.text, .phone, ::placeholder { opacity: .75 } .text { font-size: .875rem } .heading, .button { font-weight: 600; text-decoration: none } p::first-letter { text-transform: uppercase }
.logo, .icon { display: grid; place-items: center; position: relative; width: 2rem; aspect-ratio: 1; border-radius: 25%; background: var(--line) }
img { position: absolute; width: 100%; border-radius: inherit; background: #fff }
.card { padding: 2rem 1rem; text-align: center } .icon { width: 4.5rem; margin: 0 auto 1rem; border-radius: 50%; font-size: 1.5rem } .icon .logo { width: 60% }
.actions { display: flex; justify-content: center; gap: .5rem; margin-top: 1.25rem }
.ok .icon, .card:not(.wait) .button:first-child { border-color: var(--accent); background: var(--accent); color: var(--terra-accent-text, Canvas) }
.wait .icon { background: none } .wait .icon::after { content: ""; position: absolute; inset: 0; border: 3px solid var(--line); border-top-color: var(--accent); border-radius: 50% }
@media (prefers-reduced-motion: no-preference) { ::after { animation: turn 1s linear infinite } } @keyframes turn { to { rotate: 1turn } }`);

// "p.text" has the class and the part "text"
function el(kind, properties, ...children) {
	const [tag, part = ""] = kind.split(".");
	const node = Object.assign(document.createElement(tag), { className: part, part }, properties);
	node.append(...children.filter(Boolean));
	return node;
}

const isTemporary = ({ status = 500, wait }) => wait || status === 429 || status >= 500;
const explain = (problem) => (isTemporary(problem) ? "busy" : /401|403/.test(problem.status) ? "signIn" : "refused");

function start(host) {
	let job, providers, timer, channel, wake, texts = ENGLISH;
	const icon = el("div.icon", { ariaHidden: true });
	const heading = el("p.heading");
	const note = el("p.text");
	const status = el("div", { role: "status", tabIndex: -1 }, heading, note);
	const actions = el("div.actions");
	const card = el("div", { hidden: true }, icon, status, actions);
	const search = el("input.search", { type: "search", oninput: fill });
	const lists = el("div");
	const picker = el("div.picker", { tabIndex: -1 }, search, lists);
	const root = host.attachShadow({ mode: "open" });
	const attr = (name) => host.getAttribute(name);
	const language = () => /^(de|fr|es|pt|ja|ar)\b/i.exec(host.closest("[lang]")?.lang || navigator.language)?.[0].toLowerCase();
	const codes = () => attr("providers")?.toUpperCase().match(/\w+/g);
	const find = (code, name = code) => providers?.find(({ resource }) => resource === code) ?? { name };
	const button = (key, onclick) => el("button.button", { onclick }, say(key));
	const emit = (name, detail) => host.dispatchEvent(new CustomEvent(`terra-${name}`, { detail, bubbles: true, composed: true }));

	function say(key, name) {
		const text = (!name && texts[`${key}Any`]) || texts[key];
		return text.replace("{name}", () => name ?? texts.any).replace("{app}", () => attr("app-name") ?? texts.app);
	}

	function logo({ name, icon_url: src }) {
		const image = src && el("img", { loading: "lazy", referrerPolicy: "no-referrer", alt: "", onerror: () => image.remove(), src });
		return el("span.logo", { ariaHidden: true }, name?.[0], image);
	}

	function tile(provider) {
		const { resource: value, name, type } = provider;
		const isConnected = host.connected?.includes(value);
		const button = { value, ariaLabel: say(isConnected ? "another" : "connect", name), onclick: () => host.connect(value) };
		const [kind, properties] = type === "sdk" ? ["div.tile phone"] : ["button.tile", button];
		return el("li", {}, el(kind, properties, logo(provider), el("span.name", {}, name), isConnected && "✓"));
	}

	function fill() {
		const query = search.value.trim();
		search.placeholder = search.ariaLabel = say("search");
		if (!providers) return lists.replaceChildren(el("ul.busy"));
		const found = providers.filter(({ name, resource }) => name.toLowerCase().includes(query.toLowerCase()) && (codes()?.includes(resource) ?? true));
		const [apis, sdks] = ["api", "sdk"].map((type) => el("ul", {}, ...found.filter((one) => one.type === type).map(tile)));
		const phone = el("div", { hidden: !sdks.firstChild }, el("p.heading", {}, say("phone")), el("p.text", {}, say("needs_app")), sdks);
		lists.replaceChildren(el("p.text", { role: "status" }, !found.length && say("none", query)), apis, phone, el("p.text", {}, say("leaving")));
	}

	function show(kind, provider, title, text, ...buttons) {
		const isFocused = root.activeElement;
		card.hidden = !kind;
		picker.hidden = kind;
		if (kind) {
			card.className = card.part = `card ${kind}`;
			icon.replaceChildren({ ok: "✓", bad: "!" }[kind] ?? logo(provider));
			heading.textContent = say(title, provider.name);
			note.textContent = text && say(text, provider.name);
			actions.replaceChildren(...buttons);
		}
		if (isFocused) (kind ? status : picker).focus();
	}

	async function call(path, body) {
		const token = await host.getToken?.();
		const headers = { "Content-Type": "application/json", "Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-") };
		if (token) headers.Authorization = `Bearer ${token}`;
		const response = await fetch((attr("api-url") ?? "") + path, { method: body ? "POST" : "GET", headers, body: JSON.stringify(body) });
		const content = await response.json().catch(() => ({}));
		if (response.ok) return content;
		throw { ...content, status: response.status, wait: 1000 * response.headers.get("Retry-After") };
	}

	async function load() {
		const code = language();
		const file = code && (await import(`./languages/${code}.js`).catch(() => {}));
		texts = { ...ENGLISH, ...file?.default };
		card.dir = picker.dir = code === "ar" ? "rtl" : "ltr";
		job || providers || show();
		fill();
		try {
			providers = [...(await call("/providers")).providers];
			fill();
		} catch (problem) {
			if (card.hidden) show("bad", {}, "unloaded", explain(problem), button("retry", load));
			emit("error", { problem });
		}
	}

	function refresh() {
		clearTimeout(timer);
		timer = setTimeout(load); // a page sets getToken after its imports
	}

	async function nap(pause, wait) {
		const end = Date.now() + wait;
		let isMessage;
		do isMessage = await new Promise((resolve) => {
			setTimeout((wake = resolve), pause);
			document.addEventListener("visibilitychange", () => resolve(), { once: true });
		});
		while (host.isConnected && (Date.now() < end || (document.hidden && !isMessage)));
	}

	async function run(provider, body, id) {
		if (job && !job.id) return; // a double click
		const mine = (job = { id });
		const isOver = () => mine !== job || !host.isConnected;
		const tab = body && open(); // browsers block it after an await
		const cancel = button("cancel", host.cancel);
		const fail = (reason) => show("bad", provider, "not", reason, button("retry", () => run(provider, body ?? {})), cancel);
		show("wait", provider, "wait", "leaving", id ? cancel : "");
		card.scrollIntoView({ block: "nearest" });
		try {
			if (body) {
				const session = await call("/sessions", { ...body, return_to: attr("return-to"), language: language() ?? "en" });
				const { session_id, auth_url: href, resource, repairs } = session;
				if (!/^(https:|http:\/\/(localhost|127\.0\.0\.1)(:\d+)?\/)/.test(href)) throw { status: 400, code: "unsafe_auth_url" };
				if (isOver()) return tab?.close();
				if (tab) tab.opener = null;
				tab?.location.replace(href);
				mine.id = session_id;
				show("wait", provider, tab ? "wait" : "blocked", "leaving", el("a.button", { href, target: tab ? "_blank" : "", rel: "noreferrer" }, say("open")), cancel);
				emit("session", { sessionId: session_id, provider: resource, repairs });
			}
			for (let pause = 1000; !isOver(); pause = Math.min(pause * 1.5, 15000)) {
				const session = await call(`/sessions/${encodeURIComponent(mine.id)}`).catch((problem) => {
					if (isTemporary(problem)) return { status: "pending", wait: problem.wait };
					throw problem;
				});
				const { status, reason, resource, repairs, wait = 0 } = session;
				if (status === "pending") {
					await nap(pause, wait);
				} else if (!isOver()) {
					job = undefined;
					provider = find(resource, provider.name);
					body ??= repairs ? { user_id: repairs } : { resource };
					const isOk = status === "connected";
					if (isOk) show("ok", provider, status, "", button("done", host.cancel));
					else fail([status, reason, "unknown"].find((key) => texts[key]));
					emit(isOk ? status : "failed", { session });
				}
			}
		} catch (problem) {
			if (!mine.id) tab?.close();
			if (isOver()) return;
			job = undefined;
			fail(explain(problem));
			emit("error", { problem });
		}
	}

	root.adoptedStyleSheets = [sheet];
	root.append(card, picker);
	for (const [name, changed] of [["getToken", refresh], ["connected", fill]]) {
		let value = host[name]; // perhaps set before this module was loaded
		const set = (next) => `${value}` === `${(value = next)}` || changed();
		Object.defineProperty(host, name, { get: () => value, set });
	}
	Object.assign(host, {
		connect: (code) => run(find(code), code ? { resource: code } : { resources: codes() }),
		repair: (user_id, name) => run({ name }, { user_id }),
		follow: (id) => run({}, undefined, id),
		cancel() {
			if (job) emit("cancelled", { sessionId: job.id });
			job = show();
		},
	});
	return {
		refresh,
		enter() {
			channel = new BroadcastChannel("terra-connect");
			channel.onmessage = ({ data }) => {
				if (data === "here") return;
				channel.postMessage("here"); // the return page may close itself
				wake?.(true);
			};
			if (job?.id) host.follow(job.id);
			refresh();
		},
		leave: () => channel.close(),
	};
}

customElements.define("terra-connect", class extends HTMLElement {
	static observedAttributes = ["api-url", "app-name", "lang", "providers"];
	#on = start(this);
	connectedCallback() { this.#on.enter(); }
	disconnectedCallback() { this.#on.leave(); }
	attributeChangedCallback() { this.#on.refresh(); }
});
