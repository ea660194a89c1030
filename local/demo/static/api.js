// How a web app calls Terra Connections: with the access token of its signed-in user.

const config = await (await fetch("config.json")).json();

/** Replace it by your own sign-in. The demo accepts any name and requests a token from the local issuer. */
export const account = {
  get name() { return localStorage.getItem("account"); },
  signIn(name) { localStorage.setItem("account", name); },
  signOut() { localStorage.clear(); },
};

let cached = { until: 0 };
async function token() {
  if (Date.now() > cached.until) {
    const response = await send("POST", `${config.issuer}/token`, { subject: account.name });
    cached = { token: response.access_token, until: Date.now() + (response.expires_in - 60) * 1000 };
  }
  return cached.token;
}

/** Calls the API; returns the response's JSON, or throws an ApiError. */
export async function call(method, path, body) {
  return send(method, config.api + path, body, { Authorization: `Bearer ${await token()}` });
}

/** Calls the app's own back end, with the same token. */
export async function callBackEnd(path) {
  return send("GET", path, undefined, { Authorization: `Bearer ${await token()}` });
}

/** A failed call; `message` can be shown to the user. */
export class ApiError extends Error {
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.isTemporary = status === 0 || status === 429 || status >= 500; // offline, too fast, busy
    this.retryAfter = retryAfter * 1000;
  }
}

async function send(method, url, body, headers = {}) {
  const json = body && { "Content-Type": "application/json" };
  const request = { method, headers: { ...headers, ...json }, body: body && JSON.stringify(body) };
  const response = await fetch(url, request).catch(() => {
    throw new ApiError("The server cannot be reached. Are you online?");
  });
  const content = await response.json().catch(() => ({}));
  if (response.ok) return content;
  // The API's errors are problem details (RFC 9457); API Gateway's own errors have only a status.
  const message = content.detail ?? content.title ?? MESSAGES[response.status] ?? `The server returned ${response.status}.`;
  throw new ApiError(message, response.status, Number(response.headers.get("Retry-After")));
}

const MESSAGES = {
  401: "Please sign in.",
  403: "Your sign-in is no longer accepted. Please sign in again.",
  429: "Too many requests. Please wait a moment.",
  503: "The server is busy. Please try again in a moment.",
};
