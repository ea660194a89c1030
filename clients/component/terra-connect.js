// <terra-connect> connects a user's wearables through Terra Connections: docs/connect-component.md
const ENGLISH = {
	app: "This app",
	any: "your provider",
	search: "Search providers",
	none: "No provider matches {name}.",
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
	missing_scopes: "Please allow all permissions.",
	provider_error: "{name} reported an error.",
	unknown: "The login was not completed.",
	expired: "The login was not finished in time.",
	retry: "Try again",
	unloaded: "Providers could not be loaded",
	signIn: "Please sign in again.",
	later: "Please try again in a few minutes.",
};

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
:host{display:block;overflow-wrap:anywhere;color:var(--terra-text);font-family:var(--terra-font);
--accent:var(--terra-accent,light-dark(#2f5bd0,#9db7ff));--line:color-mix(in srgb,currentcolor 18%,#0000)}
:host([hidden]){display:none}
*{box-sizing:border-box;margin:0;font:inherit;color:inherit}
input,.tile,.button,.card{padding:.7rem;border:1px solid var(--line);border-radius:var(--terra-radius,.75rem);background:var(--terra-background,none)}
ul{display:grid;grid:auto/repeat(auto-fill,minmax(9.5rem,1fr));gap:.5rem;margin:.75rem 0;padding:0}
.busy{height:12rem;background:repeating-linear-gradient(var(--line) 0 3.5rem,#0000 0 4rem)}
.tile{display:flex;align-items:center;gap:.6rem;height:100%;text-align:start}
.tile,input{width:100%}
.name{flex:1}
button{cursor:pointer}
button:hover{border-color:var(--accent)}
.text,::placeholder{opacity:.75}
.text{font-size:.875rem}
.heading,.button{font-weight:600;text-decoration:none}
p::first-letter{text-transform:uppercase}
.logo,.icon{display:grid;place-items:center;position:relative;width:2rem;aspect-ratio:1;border-radius:25%;background:var(--line)}
img{position:absolute;width:100%;border-radius:inherit;background:#fff}
.phone{margin-bottom:.75rem}
.card{padding:2rem 1rem;text-align:center}
.icon{width:4.5rem;margin:0 auto 1rem;border-radius:50%;font-size:1.5rem}
.icon .logo{width:60%}
.actions{display:flex;justify-content:center;gap:.5rem;margin-top:1.25rem}
.ok .icon,.card:not(.wait) .button:first-child{background:var(--accent);color:var(--terra-accent-text,Canvas)}
.wait .icon::after{content:"";position:absolute;inset:0;border:3px solid var(--line);border-top-color:var(--accent);border-radius:50%}
@media(prefers-reduced-motion:no-preference){::after{animation:turn 1s linear infinite}}
@keyframes turn{to{rotate:1turn}}`);

function el(kind, properties, ...children) {
	const [tag, part = ""] = kind.split(".");
	const node = Object.assign(document.createElement(tag), { className: part, part }, properties);
	node.append(...children.filter(Boolean));
	return node;
}

const explain = ({ status }) => (/401|403/.test(status) ? "signIn" : "later");

function start(host) {
	let job, providers, timer, channel, wake, texts = ENGLISH;
	const search = el("input.search", { type: "search", oninput: fill });
	const lists = el("div");
	const box = el("div", { tabIndex: -1 });
	const root = host.attachShadow({ mode: "open" });
	const attr = (name) => host.getAttribute(name);
	const language = () => /^(de|fr|es|pt|ja|ar)\b/.exec(host.closest("[lang]")?.lang || navigator.language)?.[0];
	const codes = () => attr("providers")?.match(/\w+/g);
	const find = (code, name = code) => providers?.find(({ resource }) => resource === code) ?? { name };
	const button = (key, onclick) => el("button.button", { onclick }, say(key));
	const emit = (name, detail) => host.dispatchEvent(new CustomEvent("terra-" + name, { detail, bubbles: true, composed: true }));

	function say(key, name) {
		const text = (!name && texts[key + "Any"]) || texts[key];
		return text.replace("{name}", () => name ?? texts.any).replace("{app}", () => attr("app-name") ?? texts.app);
	}

	function logo({ name, icon_url: src }) {
		const image = src && el("img", { loading: "lazy", referrerPolicy: "no-referrer", alt: "", onerror: () => image.remove(), src });
		return el("span.logo", { ariaHidden: true }, name?.[0], image);
	}

	function tile(item) {
		const { resource, name } = item;
		const isConnected = host.connected?.includes(resource);
		const ariaLabel = say(isConnected ? "another" : "connect", name);
		const onclick = () => run(item, { resource });
		return el("li", {}, el("button.tile", { ariaLabel, onclick }, logo(item), el("span.name", {}, name), isConnected && "✓"));
	}

	function fill() {
		const query = search.value.trim();
		search.placeholder = search.ariaLabel = say("search");
		if (!providers) return lists.replaceChildren(el("ul.busy"));
		const found = providers.filter(({ name, resource }) => name.toLowerCase().includes(query.toLowerCase()) && (codes()?.includes(resource) ?? true));
		const [apis, sdks] = ["api", "sdk"].map((type) => found.filter((item) => item.type === type));
		const names = sdks.map(({ name }) => name).join(", ");
		lists.replaceChildren(
			el("p.text", { role: "status" }, !found[0] && say("none", query)),
			el("ul", {}, ...apis.map(tile)),
			el("div.phone", { hidden: !names }, el("p.heading", {}, say("phone")), el("p.text", {}, names), el("p.text", {}, say("needs_app"))),
			el("p.text", {}, say("leaving")),
		);
	}

	function show(kind, ...children) {
		const isFocused = root.activeElement;
		box.className = box.part = kind;
		box.role = kind === "picker" ? "group" : "status";
		box.replaceChildren(...children);
		if (isFocused) box.focus();
	}

	function card(kind, mark, title, text, { name }, ...buttons) {
		show("card " + kind, el("div.icon", {}, mark), el("p.heading", {}, say(title, name)), el("p.text", {}, text && say(text, name)), el("div.actions", {}, ...buttons));
	}

	function home() {
		job = undefined;
		show("picker", search, lists);
	}

	async function call(path, body) {
		const token = await host.getToken?.();
		const response = await fetch((attr("api-url") ?? "") + path, {
			method: body ? "POST" : "GET",
			headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID(), ...(token && { Authorization: "Bearer " + token }) },
			body: JSON.stringify(body),
		});
		const content = await response.json().catch(() => ({}));
		if (response.ok) return content;
		throw { ...content, status: response.status, wait: 1000 * response.headers.get("Retry-After") };
	}

	async function load() {
		const code = language();
		texts = { ...ENGLISH, ...(code && (await import(`./languages/${code}.js`)).default) };
		box.dir = code === "ar" ? "rtl" : "ltr";
		job || providers || home();
		fill();
		try {
			({ providers } = await call("/providers"));
			fill();
		} catch (problem) {
			if (box.part == "picker") card("bad", "!", "unloaded", explain(problem), {}, button("retry", load));
			emit("error", { problem });
		}
	}

	function refresh() {
		clearTimeout(timer);
		timer = setTimeout(load); // a page sets getToken after its imports
	}

	async function run(item, body, id) {
		if (job && !job.id) return; // a double click
		const mine = (job = { id });
		const isOver = () => mine !== job || !host.isConnected;
		const tab = body && open(); // browsers block it after an await
		const cancel = button("cancel", host.cancel);
		const wait = (title, ...buttons) => card("wait", logo(item), title, "leaving", item, ...buttons);

		function end(reason, event, detail) {
			job = undefined;
			if (reason === event) card("ok", "✓", reason, "", item, button("done", home));
			else card("bad", "!", "not", reason, item, button("retry", () => run(item, body ?? { resource: item.resource })), cancel);
			emit(event, detail);
		}

		wait("wait", id && cancel);
		box.scrollIntoView({ block: "nearest" });
		try {
			if (body) {
				const session = await call("/sessions", { ...body, return_to: attr("return-to"), language: language() ?? "en" });
				const { session_id, auth_url: href, resource, repairs } = session;
				if (!/^https:|^http:..(localhost|127\.0\.0\.1)(:\d+)?\//.test(href)) throw { status: 400, code: "unsafe_auth_url" };
				if (isOver()) return tab?.close();
				if (tab) tab.opener = null;
				tab?.location.replace(href);
				job.id = session_id;
				wait(tab ? "wait" : "blocked", el("a.button", { href, target: tab ? "_blank" : "" }, say("open")), cancel);
				emit("session", { sessionId: session_id, provider: resource, repairs });
			}
			for (let pause = 1000, due = 0, isWoken; !isOver(); pause = Math.min(pause * 1.5, 15000)) {
				const isDue = Date.now() >= due && (isWoken || !document.hidden);
				const session = isDue && (await call("/sessions/" + mine.id).catch((problem) => {
					if (problem.status < 500 && problem.status !== 429) throw problem;
					due = Date.now() + problem.wait;
				}));
				if (isOver()) return;
				if (session && session.status !== "pending") {
					const { status, reason, resource } = session;
					item = find(resource, item.name);
					return end([status, reason, "unknown"].find((key) => texts[key]), status === "connected" ? status : "failed", { session });
				}
				isWoken = await new Promise((resolve) => {
					setTimeout((wake = resolve), pause);
					document.addEventListener("visibilitychange", () => resolve(), { once: true });
				});
			}
		} catch (problem) {
			if (!mine.id) tab?.close();
			if (!isOver()) end(explain(problem), "error", { problem });
		}
	}

	root.adoptedStyleSheets = [sheet];
	root.append(box);
	for (const [name, changed] of [["getToken", refresh], ["connected", fill]]) {
		let value = host[name];
		const set = (next) => String(value) === String((value = next)) || changed();
		Object.defineProperty(host, name, { get: () => value, set });
	}
	Object.assign(host, {
		connect: (code) => run(find(code), code ? { resource: code } : { resources: codes() }),
		repair: (user_id, name) => run({ name }, { user_id }),
		follow: (id) => run({}, undefined, id),
		cancel() {
			if (job) emit("cancelled", { sessionId: job.id });
			home();
		},
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
	});
}

customElements.define("terra-connect", class extends HTMLElement {
	static observedAttributes = ["api-url", "app-name", "lang", "providers"];
	#life = start(this);
	connectedCallback() { this.enter(); }
	disconnectedCallback() { this.leave(); }
	attributeChangedCallback() { this.refresh(); }
});
