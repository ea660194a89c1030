// How a web app calls Terra Connections: with the access token of its signed-in user.

export const config = await (await fetch("config.json")).json();

/** Replace it by your own sign-in. The demo accepts any name and requests a token from the local issuer. */
export const account = {
  get name() { return localStorage.getItem("account"); },
  signIn(name) { localStorage.setItem("account", name); },
  signOut() {
    renewToken();
    for (const key of ["account", "login", "backfill"]) localStorage.removeItem(key);
  },
};

let cached = { until: 0 };
/** Returns the access token of the signed-in user; the app's own sign-in renews it. */
export async function token() {
  if (Date.now() > cached.until) {
    const response = await send("POST", `${config.issuer}/token`, { subject: account.name });
    cached = { token: response.access_token, until: Date.now() + (response.expires_in - 60) * 1000 };
  }
  return cached.token;
}

/** Lets the next call request a new token. */
export function renewToken() {
  cached = { until: 0 };
}

/** Calls the API; returns the response's JSON, or throws an ApiError. */
export const call = (method, path, body) => authorized(method, config.api + path, body);

/** Calls the app's own back end, with the same token. */
export const callBackEnd = (path) => authorized("GET", path);

async function authorized(method, url, body) {
  const attempt = async () => send(method, url, body, { Authorization: `Bearer ${await token()}` });
  return attempt().catch((error) => {
    if (!error.isSignedOut) throw error;
    renewToken(); // which helps if only this one has expired
    return attempt();
  });
}

/** A failed call; `message` can be shown to the user. */
export class ApiError extends Error {
  constructor(message, status = 0, { retryAfter = 0, code } = {}) {
    super(message);
    this.status = status;
    this.isTemporary = status === 0 || status === 429 || status >= 500; // offline, too fast, busy
    this.isSignedOut = status === 401 || (status === 403 && !code); // API Gateway rejects a token without a code
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
  throw new ApiError(message, response.status, { retryAfter: Number(response.headers.get("Retry-After")), code: content.code });
}

const MESSAGES = {
  401: "Please sign in.",
  403: "Your sign-in is no longer accepted. Please sign in again.",
  429: "Too many requests. Please wait a moment.",
  503: "The server is busy. Please try again in a moment.",
};
