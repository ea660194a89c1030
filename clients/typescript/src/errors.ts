import type { Problem, ProblemCode } from "./schema.js";

interface Details {
  status?: number | undefined;
  problem?: Problem | undefined;
  retryAfter?: number | undefined;
  requestId?: string | undefined;
  cause?: unknown;
}

/** A request failed, also after its retries. */
export class TerraConnectionsError extends Error {
  override readonly name = "TerraConnectionsError";
  /** The HTTP status; undefined if there is no response (`cause` is then the error of fetch). */
  readonly status: number | undefined;
  /**
   * The stable code of the error. Undefined for an error of API Gateway, such as 403 for a wrong key. A newer API can
   * have a code that this version of the client does not list.
   */
  readonly code: ProblemCode | undefined;
  /** The whole problem document, with `errors` for `invalid_request`. */
  readonly problem: Problem | undefined;
  /** The seconds that the API asks to wait, if it does. */
  readonly retryAfter: number | undefined;
  /** The id of the request in the logs of the stack. */
  readonly requestId: string | undefined;

  constructor(message: string, details: Details = {}) {
    super(message, { cause: details.cause });
    this.status = details.status;
    this.problem = details.problem;
    this.code = details.problem?.code;
    this.retryAfter = details.retryAfter;
    this.requestId = details.requestId;
  }
}

/** Return the error of a response. */
export async function errorOfResponse(response: Response): Promise<TerraConnectionsError> {
  const body = await bodyOf(response);
  const problem = typeof body["code"] === "string" ? (body as unknown as Problem) : undefined;
  const text = body["detail"] ?? body["title"] ?? body["message"] ?? response.statusText;
  const retryAfter = response.headers.get("retry-after") ?? "";
  return new TerraConnectionsError(`${response.status}${problem ? ` ${problem.code}` : ""}: ${String(text)}`, {
    status: response.status,
    problem,
    retryAfter: /^\d+$/.test(retryAfter) ? Number(retryAfter) : undefined,
    requestId: response.headers.get("apigw-requestid") ?? undefined,
  });
}

async function bodyOf(response: Response): Promise<Record<string, unknown>> {
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
