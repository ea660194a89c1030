import { TerraConnectionsError } from "./errors.js";

const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 8;
/** What Node.js reports if no connection was made, so that the request was certainly not processed. */
const NOT_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT"]);

/** A request. */
export interface Call {
  method: "GET" | "POST" | "DELETE";
  path: string;
  query?: Record<string, string>;
  body?: object;
  headers?: Record<string, string>;
  /** False if the request must not be sent again once it may have been processed. */
  isRepeatable?: boolean;
}

/** The attempts of one call. */
export class Attempts {
  #made = 0;

  constructor(
    private readonly isRepeatable: boolean,
    private readonly most: number,
    private readonly longestWait: number,
  ) {}

  /** Return how many seconds to wait before the next attempt, or throw the error if there is none. */
  after(error: TerraConnectionsError): number {
    this.#made += 1;
    const asked = error.retryAfter ?? 0;
    if (!this.#mayRepeat(error) || this.#made >= this.most || asked > this.longestWait) {
      throw error;
    }
    // Jitter: clients that failed together do not return together.
    return asked + Math.random() * Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (this.#made - 1));
  }

  #mayRepeat(error: TerraConnectionsError): boolean {
    switch (error.status) {
      case undefined:
        return this.isRepeatable || wasNotSent(error.cause);
      case 409: // the first request with this Idempotency-Key is still running
        return error.code === "request_in_progress";
      case 429: // rejected before it was processed
        return true;
      case 502: // with a code it is an answer of Terra that another attempt does not change
        return this.isRepeatable && error.code === undefined;
      case 503:
      case 504:
        return this.isRepeatable;
      default:
        return false;
    }
  }
}

function wasNotSent(error: unknown): boolean {
  const cause = error instanceof Error ? (error.cause as { code?: unknown } | undefined) : undefined;
  return typeof cause?.code === "string" && NOT_SENT.has(cause.code);
}
