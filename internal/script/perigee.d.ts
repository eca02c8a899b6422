// What a script in the runtime of satellites finds around it, besides ECMAScript.
// The test beside this file holds it against the runtime, name by name.

/** What the run knows of itself. */
interface PerigeeContext {
  check: { id: string; name: string; intervalSeconds: number };
  system: { id: string; name: string; metadata: Record<string, unknown> };
  /** Where the check runs in environments. */
  environment?: { id: string; name: string; fields: Record<string, unknown> };
  /** The configuration of the strategy. */
  config: Record<string, unknown>;
}

/** What a script may return in full; what is left out of it is success. */
interface PerigeeResult {
  success?: boolean;
  message?: string | null;
  value?: number | null;
  /** A list is none. */
  flatMap?: never;
}
/** What a script may return: nothing is success, a number is a success with that value, a text one with that message. */
type PerigeeReturn = void | undefined | null | boolean | number | string | (PerigeeResult & object) | { toJSON(key?: string): PerigeeReturn };
/** What is returned by a script that exports something as its default: a function, an object with one, a value, or a promise. */
type PerigeeReturned<T> = T extends
  | ((...given: any) => infer R)
  | { run: (...given: any) => infer R }
  | { execute: (...given: any) => infer R }
  | { handler: (...given: any) => infer R }
  ? Awaited<R>
  : Awaited<T>;

declare var context: PerigeeContext;

// What follows is of the built-in runtime: Node and Bun have their own.
declare var process: {
  /** PERIGEE_… and the secrets that secretEnv names. */
  env: Record<string, string>;
  platform: "perigee";
  argv: string[];
  versions: Record<string, string>;
};
declare var global: typeof globalThis;
declare var self: typeof globalThis;

/** What is printed is kept with the run, to 64 KiB. */
declare var console: {
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  debug(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
  trace(...values: unknown[]): void;
  dir(...values: unknown[]): void;
  table(...values: unknown[]): void;
  group(...values: unknown[]): void;
  groupEnd(): void;
  assert(ok: unknown, ...values: unknown[]): void;
  count(label?: string): void;
  time(label?: string): void;
  timeEnd(label?: string): void;
};

declare var performance: { now(): number; readonly timeOrigin: number };
declare function setTimeout<A extends unknown[]>(callback: (...args: A) => void, ms?: number, ...args: A): number;
declare function setInterval<A extends unknown[]>(callback: (...args: A) => void, ms?: number, ...args: A): number;
declare function setImmediate<A extends unknown[]>(callback: (...args: A) => void, ...args: A): number;
declare function clearTimeout(id?: number): void;
declare function clearInterval(id?: number): void;
declare function clearImmediate(id?: number): void;
declare function queueMicrotask(callback: () => void): void;
declare function structuredClone<T>(value: T): T;
declare function atob(text: string): string;
declare function btoa(text: string): string;

type BufferSource = ArrayBufferView | ArrayBuffer;

declare class TextEncoder {
  readonly encoding: "utf-8";
  encode(text?: string): Uint8Array<ArrayBuffer>;
  encodeInto(text: string, into: Uint8Array): { read: number; written: number };
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  readonly encoding: string;
  readonly fatal: boolean;
  decode(data?: BufferSource): string;
}

declare class URLSearchParams {
  constructor(init?: string | Iterable<[string, string]> | Record<string, string>);
  readonly size: number;
  append(name: string, value: string): void;
  delete(name: string, value?: string): void;
  get(name: string): string | null;
  getAll(name: string): string[];
  has(name: string, value?: string): boolean;
  set(name: string, value: string): void;
  sort(): void;
  forEach(callback: (value: string, name: string, params: URLSearchParams) => void, self?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
  toString(): string;
}
declare class URL {
  constructor(href: string | URL, base?: string | URL);
  static canParse(href: string | URL, base?: string | URL): boolean;
  static parse(href: string | URL, base?: string | URL): URL | null;
  href: string;
  protocol: string;
  username: string;
  password: string;
  host: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  hash: string;
  readonly origin: string;
  readonly searchParams: URLSearchParams;
  toString(): string;
  toJSON(): string;
}

declare class Event {
  constructor(type: string);
  readonly type: string;
  readonly target?: EventTarget;
  preventDefault(): void;
}
type EventListener = ((event: Event) => void) | { handleEvent(event: Event): void };
declare class EventTarget {
  addEventListener(type: string, listener: EventListener, options?: { once?: boolean }): void;
  removeEventListener(type: string, listener: EventListener): void;
  dispatchEvent(event: Event): boolean;
}
declare class DOMException extends Error {
  constructor(message?: string, name?: string);
}
declare class AbortSignal extends EventTarget {
  readonly aborted: boolean;
  readonly reason: any;
  onabort?: (event: Event) => void;
  throwIfAborted(): void;
  static abort(reason?: unknown): AbortSignal;
  static timeout(ms: number): AbortSignal;
  static any(signals: Iterable<AbortSignal>): AbortSignal;
}
declare class AbortController {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
}

type HeadersInit = Headers | Iterable<[string, string]> | Record<string, string>;
type BodyInit = string | BufferSource | URLSearchParams;
declare class Headers {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  delete(name: string): void;
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(callback: (value: string, name: string, headers: Headers) => void, self?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}
interface Body {
  readonly bodyUsed: boolean;
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  arrayBuffer(): Promise<ArrayBuffer>;
  text(): Promise<string>;
  json(): Promise<any>;
}
interface ResponseInit {
  status?: number;
  statusText?: string;
  headers?: HeadersInit;
}
interface Response extends Body {}
declare class Response {
  constructor(body?: BodyInit | null, init?: ResponseInit);
  readonly status: number;
  readonly statusText: string;
  readonly headers: Headers;
  readonly url: string;
  readonly redirected: boolean;
  readonly type: "default";
  readonly ok: boolean;
  clone(): Response;
  static json(value: unknown, init?: ResponseInit): Response;
  static error(): Response;
}
interface RequestInit {
  method?: string;
  headers?: HeadersInit;
  body?: BodyInit | null;
  redirect?: "follow" | "error" | "manual";
  signal?: AbortSignal | null;
}
interface Request extends Body {}
declare class Request {
  constructor(input: string | URL | Request, init?: RequestInit);
  readonly url: string;
  readonly method: string;
  readonly headers: Headers;
  readonly redirect: "follow" | "error" | "manual";
  readonly signal: AbortSignal | null;
  clone(): Request;
}
/** By the policy for scripts; 200 requests in a run, bodies to 2 MiB. */
declare function fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;

type HashName = "SHA-1" | "SHA-256" | "SHA-384" | "SHA-512";
type HashAlgorithm = HashName | { name: HashName };
declare class CryptoKey {
  private constructor();
  readonly type: "secret";
  readonly algorithm: { name: "HMAC"; hash: { name: HashName } };
}
/** Random values, digests and HMAC. */
declare var crypto: {
  randomUUID(): string;
  getRandomValues<T extends ArrayBufferView>(into: T): T;
  subtle: {
    digest(algorithm: HashAlgorithm, data: BufferSource): Promise<ArrayBuffer>;
    importKey(format: "raw", data: BufferSource, algorithm: { name: "HMAC"; hash: HashAlgorithm }, extractable?: boolean, usages?: string[]): Promise<CryptoKey>;
    sign(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, data: BufferSource): Promise<ArrayBuffer>;
    verify(algorithm: "HMAC" | { name: "HMAC" }, key: CryptoKey, signature: BufferSource, data: BufferSource): Promise<boolean>;
  };
};
