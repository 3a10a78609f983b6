// The one way to the server. Writes carry an Idempotency-Key that stays the same while the same intent is retried, so a retry after a lost
// answer does the thing once; a problem+json becomes a Problem with its field errors.
//
//   const customer = await read("/v1/customers/{customer_id}", { path: { customer_id } });
//   await write("patch", "/v1/customers/{customer_id}", { path: { customer_id }, body, version });
import createClient from "openapi-fetch";
import { fieldSentence } from "../i18n";
import { uuid } from "../uuid";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type FieldError = Schemas["FieldError"];
type Method = "get" | "post" | "put" | "patch" | "delete";
type Json<R> = R extends { content: { "application/json": infer J } } ? J : undefined;
type Good<R> = R extends { 200: infer A } ? Json<A> : R extends { 201: infer A } ? Json<A> : undefined;
export type Path = keyof paths;
type Of<P extends Path, M extends Method> = paths[P] extends Record<M, infer O> ? O : never;
export type Result<P extends Path, M extends Method> = Of<P, M> extends { responses: infer R } ? Good<R> : never;
type Body<P extends Path, M extends Method> = Of<P, M> extends { requestBody?: infer B } ? Json<B> : undefined;
type Segments = Record<string, string>;
type Query = Record<string, string | number | boolean | string[] | undefined>;

export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly errors: FieldError[] = [],
    readonly extra: Record<string, unknown> = {},
    readonly retryAfter = 0,
  ) {
    super(detail);
  }
}

let csrf: string | null = null;
export function useToken(token: string | null) {
  csrf = token;
}
/** What a legacy system, which owns the record, made otherwise than it was asked to: names of fields. */
let tellChanged: (fields: string[]) => void = () => {};
export function onLegacyChanged(tell: (fields: string[]) => void) {
  tellChanged = tell;
}
let askToLogIn: () => void = () => {};
export function onUnauthenticated(ask: () => void) {
  askToLogIn = ask;
}

const client = createClient<Record<string, never>>({
  baseUrl: "",
  credentials: "same-origin",
  querySerializer: { array: { style: "form", explode: true } },
}) as unknown as {
  request(method: string, path: string, init: object): Promise<{ data?: unknown; error?: unknown; response: Response }>;
};

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function problemOf(response: Response, error: unknown): Problem {
  const p = (typeof error === "object" && error !== null ? error : {}) as Record<string, unknown>;
  return new Problem(
    response.status,
    typeof p.code === "string" ? p.code : "UNAVAILABLE",
    typeof p.detail === "string" ? p.detail : `HTTP ${response.status}`,
    Array.isArray(p.errors) ? (p.errors as FieldError[]) : [],
    p,
    Number(response.headers.get("Retry-After") ?? p.retry_after ?? 0),
  );
}

async function once(method: string, path: string, init: object): Promise<unknown> {
  let answer: { data?: unknown; error?: unknown; response: Response };
  try {
    answer = await client.request(method, path, init);
  } catch (e) {
    if (e instanceof DOMException && e.name === "AbortError") throw e;
    throw new Problem(0, "OFFLINE", "");
  }
  const changed = answer.response.headers.get("Legacy-Changed");
  if (changed) tellChanged([...new Set(changed.split(" ").map((pointer) => pointer.split("/").filter((part) => !/^\d*$/.test(part)).at(-1) ?? ""))]);
  if (answer.response.ok) return answer.data;
  throw problemOf(answer.response, answer.error);
}

export async function read<P extends Path>(
  path: P,
  options: { path?: Segments; query?: Query; signal?: AbortSignal } = {},
): Promise<Result<P, "get">> {
  try {
    return (await once("get", path, { params: { path: options.path, query: options.query }, signal: options.signal })) as Result<P, "get">;
  } catch (e) {
    if (e instanceof Problem && e.status === 401) askToLogIn();
    throw e;
  }
}

/** Intents whose outcome nobody knows yet, by what they would do. */
const undecided = new Map<string, string>();

/** What an answer leaves open: the thing may have been done, or may be done by asking again. */
function open(problem: Problem) {
  return problem.status === 0 || problem.status >= 500 || problem.status === 429 || problem.code === "IDEMPOTENCY_KEY_IN_USE" || problem.status === 401;
}

export async function write<M extends Exclude<Method, "get">, P extends Path>(
  method: M,
  path: P,
  options: { path?: Segments; query?: Query; body?: Body<P, M>; file?: File; version?: number; patient?: boolean } = {},
): Promise<Result<P, M>> {
  const intent = JSON.stringify([method, path, options.path, options.query, options.body, options.version, options.file && [options.file.name, options.file.size, options.file.lastModified]]);
  const key = undecided.get(intent) ?? uuid();
  undecided.set(intent, key);
  const headers: Record<string, string> = { "Idempotency-Key": key };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  // A file goes as it is: the server reads its encoding.
  const body = options.file ? { body: options.file, bodySerializer: (file: File) => file } : { body: options.body };
  if (options.file) headers["Content-Type"] = "text/csv";
  if (options.version !== undefined) headers["If-Match"] = `"${options.version}"`;
  for (let attempt = 1; ; ++attempt) {
    try {
      const done = await once(method, path, { params: { path: options.path, query: options.query }, ...body, headers });
      undecided.delete(intent);
      return done as Result<P, M>;
    } catch (e) {
      if (!(e instanceof Problem)) throw e;
      if (!open(e)) undecided.delete(intent);
      if (e.status === 401 && path !== "/v1/session") askToLogIn();
      // A legacy system that is away has been waited for by the server: its user is told at once.
      const again = e.status === 0 || (e.status === 503 && e.code !== "LEGACY_UNAVAILABLE") || e.code === "IDEMPOTENCY_KEY_IN_USE";
      if (!again || attempt >= (options.patient === false ? 1 : 4)) throw e;
      await wait(Math.min(5000, Math.max(e.retryAfter * 1000, 300 * 2 ** attempt)));
    }
  }
}

/** The field's own message, by JSON pointer: "/phones/0/raw". */
export function fieldError(error: unknown, pointer: string): string | undefined {
  if (!(error instanceof Problem)) return undefined;
  const found = error.errors.find((e) => e.pointer === pointer || e.pointer.startsWith(`${pointer}/`));
  return found && fieldSentence(found.code, found.detail);
}
