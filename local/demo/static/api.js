// How a web app calls Terra Connections: with the token of whoever has signed in to the app.

const config = await (await fetch("config.json")).json();

/** Your own sign-in goes here. The demo's lets anybody be anybody: it remembers a name, and asks a local issuer. */
export const account = {
  get name() { return localStorage.getItem("account"); },
  signIn(name) { localStorage.setItem("account", name); },
  signOut() { localStorage.clear(); },
};

let held = { until: 0 };
async function token() {
  if (Date.now() > held.until) {
    const answer = await send("POST", `${config.issuer}/token`, { subject: account.name });
    held = { token: answer.access_token, until: Date.now() + (answer.expires_in - 60) * 1000 };
  }
  return held.token;
}

/** Calls the API; gives what it answers, or throws an ApiError. */
export async function call(method, path, body) {
  return send(method, config.api + path, body, { Authorization: `Bearer ${await token()}` });
}

/** Why there is no answer: `message` is for people. */
export class ApiError extends Error {
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.passes = status === 0 || status === 429 || status >= 500; // offline, too fast, busy
    this.retryAfter = retryAfter * 1000;
  }
}

async function send(method, url, body, headers = {}) {
  const json = body && { "Content-Type": "application/json" };
  const request = { method, headers: { ...headers, ...json }, body: body && JSON.stringify(body) };
  const answer = await fetch(url, request).catch(() => {
    throw new ApiError("The server cannot be reached. Are you online?");
  });
  const said = await answer.json().catch(() => ({}));
  if (answer.ok) return said;
  // Problem details (RFC 9457) say what is wrong; what API Gateway itself refuses has a status that says enough.
  const words = said.detail ?? said.title ?? REFUSED[answer.status] ?? `The server answered ${answer.status}.`;
  throw new ApiError(words, answer.status, Number(answer.headers.get("Retry-After")));
}

const REFUSED = {
  401: "Please sign in.",
  403: "Your sign-in is no longer accepted. Please sign in again.",
  429: "That was a little fast. Please wait a moment.",
  503: "The server is busy. Please try again in a moment.",
};
