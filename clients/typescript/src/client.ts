import { TerraConnectionsError, errorOfResponse } from "./errors.js";
import { Attempts, type Call } from "./retries.js";
import type {
  Backfill,
  Connection,
  ConnectionList,
  CreatedSession,
  Explanation,
  MobileToken,
  NewBackfill,
  NewReplay,
  NewSession,
  Provider,
  ProviderList,
  Replay,
  Session,
} from "./schema.js";

export interface ClientOptions {
  /** A service key, or a user's token. A function is called for each request, for tokens that expire. */
  token: string | (() => string | Promise<string>);
  /** How often a request is sent at most; 5 by default. */
  attempts?: number;
  /**
   * The longest wait in seconds before a request is repeated, 30 by default. If the API asks for a longer one, the call
   * fails at once, with `retryAfter`.
   */
  longestWait?: number;
  /** The seconds to wait for a response; 35 by default. API Gateway responds within 30 s. */
  timeout?: number;
  /** Another function than the global fetch, for example one that uses a proxy. */
  fetch?: typeof fetch;
}

/**
 * The API of a stack. Every method throws `TerraConnectionsError`.
 *
 * Requests are repeated when that is safe: after 429, 502, 503, 504 and failed connections, as long as the API asks to
 * wait, or for a growing time with jitter. Replays and backfills start anew with each request, so they are repeated only
 * if they were certainly not processed.
 */
export class TerraConnections {
  readonly #baseUrl: string;
  readonly #options: Required<ClientOptions>;

  /** @param baseUrl the URL of the API, the stack's output `ApiUrl` */
  constructor(baseUrl: string, options: ClientOptions) {
    this.#baseUrl = baseUrl.replace(/\/+$/, "");
    const defaults = { attempts: 5, longestWait: 30, timeout: 35, fetch: globalThis.fetch.bind(globalThis) };
    this.#options = { ...defaults, ...options };
  }

  /**
   * Start connecting a wearable: open the `auth_url` of the session for the user.
   *
   * @param options.idempotencyKey a key of your own, if a later run of your program may repeat this call. By default each
   *   call has a new key, so that its own retries never create a second session.
   */
  createSession(session: NewSession, options: { idempotencyKey?: string } = {}): Promise<CreatedSession> {
    const headers = { "Idempotency-Key": options.idempotencyKey ?? crypto.randomUUID() };
    return this.#send({ method: "POST", path: "/sessions", body: session, headers });
  }

  /** Get the status of a session. */
  getSession(sessionId: string): Promise<Session> {
    return this.#send({ method: "GET", path: `/sessions/${encodeURIComponent(sessionId)}` });
  }

  /** Poll a session until it is no longer `pending`, for `within` seconds at most; then it is returned as it is. */
  async waitForSession(sessionId: string, options: { within?: number; interval?: number } = {}): Promise<Session> {
    const { within = 900, interval = 2 } = options;
    const endsAt = performance.now() + within * 1000;
    for (;;) {
      const session = await this.getSession(sessionId);
      if (session.status !== "pending" || performance.now() + interval * 1000 > endsAt) {
        return session;
      }
      await sleep(interval);
    }
  }

  /** List a user's connections; `referenceId` is required with a service key. */
  async listConnections(referenceId?: string, options: { includeRevoked?: boolean } = {}): Promise<Connection[]> {
    const query = { ...(referenceId !== undefined && { reference_id: referenceId }), ...revoked(options) };
    return (await this.#send<ConnectionList>({ method: "GET", path: "/connections", query })).connections;
  }

  /** Iterate over the connections of all users, with a service key. */
  async *allConnections(options: { pageSize?: number; includeRevoked?: boolean } = {}): AsyncGenerator<Connection> {
    for await (const page of this.connectionPages(options)) {
      yield* page.connections;
    }
  }

  /**
   * Iterate over the pages of all users' connections, with a service key.
   *
   * @param options.cursor `next_cursor` of a page, to go on after it; it is valid for a day
   */
  async *connectionPages(
    options: { pageSize?: number; includeRevoked?: boolean; cursor?: string } = {},
  ): AsyncGenerator<ConnectionList> {
    let cursor: string | null | undefined = options.cursor;
    do {
      const query: Record<string, string> = { limit: String(options.pageSize ?? 100), ...revoked(options) };
      if (cursor) {
        query["cursor"] = cursor;
      }
      const page: ConnectionList = await this.#send({ method: "GET", path: "/connections", query });
      yield page;
      cursor = page.next_cursor;
    } while (cursor);
  }

  /** Get the connection of a `user_id` of Terra. */
  getConnection(userId: string): Promise<Connection> {
    return this.#send({ method: "GET", path: `/connections/${encodeURIComponent(userId)}` });
  }

  /** Explain the status of a connection, with a service key. */
  getFacts(userId: string): Promise<Explanation> {
    return this.#send({ method: "GET", path: `/connections/${encodeURIComponent(userId)}/facts` });
  }

  /** Disconnect one wearable. */
  disconnect(userId: string): Promise<void> {
    return this.#send({ method: "DELETE", path: `/connections/${encodeURIComponent(userId)}` });
  }

  /** Update a user's connections from Terra, even if webhooks were lost, and return them. */
  async syncConnections(referenceId?: string): Promise<Connection[]> {
    const body = { reference_id: referenceId };
    return (await this.#send<ConnectionList>({ method: "POST", path: "/connections/sync", body })).connections;
  }

  /** Erase a user's data. 503 `erasure_unfinished` is repeated, and each request continues the erasure. */
  eraseUser(referenceId?: string): Promise<void> {
    return this.#send({ method: "POST", path: "/erasures", body: { reference_id: referenceId } });
  }

  /** Announce stored payloads again, with a service key. */
  createReplay(replay: NewReplay): Promise<Replay> {
    return this.#send({ method: "POST", path: "/replays", body: replay, isRepeatable: false });
  }

  /** Request the data of a past period. */
  createBackfill(backfill: NewBackfill): Promise<Backfill> {
    return this.#send({ method: "POST", path: "/backfills", body: backfill, isRepeatable: false });
  }

  /** Get the state of a backfill. */
  getBackfill(backfillId: string): Promise<Backfill> {
    return this.#send({ method: "GET", path: `/backfills/${encodeURIComponent(backfillId)}` });
  }

  /** List the available providers. */
  async listProviders(): Promise<Provider[]> {
    return (await this.#send<ProviderList>({ method: "GET", path: "/providers" })).providers;
  }

  /** Create a single-use token for Terra's mobile SDKs. */
  createMobileToken(referenceId?: string): Promise<MobileToken> {
    return this.#send({ method: "POST", path: "/mobile-tokens", body: { reference_id: referenceId } });
  }

  async #send<T>(call: Call): Promise<T> {
    const { attempts: most, longestWait } = this.#options;
    const attempts = new Attempts(call.isRepeatable ?? true, most, longestWait);
    // Each attempt sends the same bytes: the API compares them for an Idempotency-Key.
    const body = call.body === undefined ? null : JSON.stringify(call.body);
    for (;;) {
      const outcome = await this.#attempt(call, body);
      if (!(outcome instanceof TerraConnectionsError)) {
        return outcome as T;
      }
      await sleep(attempts.after(outcome));
    }
  }

  /** Send a request once. Return the body of its response, or the error. */
  async #attempt(call: Call, body: string | null): Promise<unknown> {
    const { token, timeout, fetch } = this.#options;
    const query = Object.entries(call.query ?? {}).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    const url = `${this.#baseUrl}${call.path}${query.length ? `?${query.join("&")}` : ""}`;
    const headers = {
      Authorization: `Bearer ${typeof token === "string" ? token : await token()}`,
      ...(body !== null && { "Content-Type": "application/json" }),
      ...call.headers,
    };
    try {
      const response = await fetch(url, { method: call.method, headers, body, signal: AbortSignal.timeout(timeout * 1000) });
      if (!response.ok) {
        return await errorOfResponse(response);
      }
      const text = await response.text();
      return text === "" ? undefined : JSON.parse(text);
    } catch (error) {
      if (error instanceof SyntaxError) {
        throw error;
      }
      return new TerraConnectionsError(`no response: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }
}

function revoked(options: { includeRevoked?: boolean }): Record<string, string> {
  return options.includeRevoked ? { include: "revoked" } : {};
}

function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}
