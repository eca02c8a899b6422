// What a script finds around it, besides the language. The engine has none of it; what
// the child cannot do by itself it asks its host.
(function (host) {
  "use strict";
  const hidden = (name, value) =>
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });

  // ---- console
  const shown = (value, depth) => {
    if (typeof value === "string") return depth === 0 ? value : JSON.stringify(value);
    if (typeof value === "bigint") return value + "n";
    if (typeof value === "function") return `[function ${value.name || "anonymous"}]`;
    if (value === null || typeof value !== "object") return String(value);
    if (value instanceof Error) return depth === 0 && value.stack ? `${value.name}: ${value.message}\n${value.stack.trimEnd()}` : `${value.name}: ${value.message}`;
    if (value instanceof Date) return isNaN(value) ? "Invalid Date" : value.toISOString();
    if (value instanceof RegExp) return String(value);
    if (depth > 3) return Array.isArray(value) ? "[…]" : "{…}";
    const list = (items, most = 100) => {
      const all = [];
      for (const item of items) {
        if (all.length === most) { all.push("…"); break; }
        all.push(item);
      }
      return all.join(", ");
    };
    const map = function* (items, f) { for (const item of items) yield f(item); };
    if (Array.isArray(value)) return `[${list(map(value, (v) => shown(v, depth + 1)))}]`;
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength})`;
    if (value instanceof Map) return `Map { ${list(map(value, ([k, v]) => `${shown(k, depth + 1)} => ${shown(v, depth + 1)}`))} }`;
    if (value instanceof Set) return `Set { ${list(map(value, (v) => shown(v, depth + 1)))} }`;
    return `{ ${list(map(Object.entries(value), ([k, v]) => `${k}: ${shown(v, depth + 1)}`))} }`;
  };
  const log = (...values) => {
    let text;
    try {
      text = values.map((v) => shown(v, 0)).join(" ");
    } catch (e) {
      text = `(cannot be shown: ${e})`;
    }
    host("log", text);
  };
  const counts = new Map(), clocks = new Map();
  hidden("console", {
    log, info: log, debug: log, warn: log, error: log, trace: log, dir: log,
    assert(ok, ...values) { if (!ok) log("Assertion failed:", ...values); },
    count(label = "default") { counts.set(label, (counts.get(label) || 0) + 1); log(`${label}: ${counts.get(label)}`); },
    time(label = "default") { clocks.set(label, performance.now()); },
    timeEnd(label = "default") { if (clocks.has(label)) log(`${label}: ${(performance.now() - clocks.get(label)).toFixed(3)} ms`); clocks.delete(label); },
    table: log, group: log, groupEnd() {},
  });

  // ---- time
  const began = host("now");
  hidden("performance", { now: () => host("now") - began, timeOrigin: Date.now() });
  const timers = new Map();
  let nextTimer = 1;
  const arm = (f, ms, args, again) => {
    if (typeof f !== "function") throw new TypeError("a timer needs a function");
    const id = nextTimer++;
    ms = Math.max(0, Number(ms) || 0);
    timers.set(id, { f, args, ms, again });
    host("timer", id, ms);
    return id;
  };
  const disarm = (id) => { if (timers.delete(id)) host("untimer", id); };
  hidden("setTimeout", (f, ms, ...args) => arm(f, ms, args, false));
  hidden("setInterval", (f, ms, ...args) => arm(f, Math.max(1, ms || 0), args, true));
  hidden("clearTimeout", disarm);
  hidden("clearInterval", disarm);
  hidden("setImmediate", (f, ...args) => arm(f, 0, args, false));
  hidden("clearImmediate", disarm);
  hidden("queueMicrotask", (f) => { Promise.resolve().then(f); });

  // ---- bytes and text
  const bytesOf = (data) => {
    if (data instanceof Uint8Array) return data;
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    throw new TypeError("expected bytes");
  };
  const latin1 = (bytes) => {
    let text = "";
    for (let i = 0; i < bytes.length; i += 4096) text += String.fromCharCode.apply(null, bytes.subarray(i, i + 4096));
    return text;
  };
  const fromLatin1 = (text) => {
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  };
  const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const value64 = new Map([...digits].map((c, i) => [c, i]));
  hidden("btoa", (text) => {
    text = String(text);
    const out = [];
    for (let i = 0; i < text.length; i += 3) {
      const a = text.charCodeAt(i), b = text.charCodeAt(i + 1), c = text.charCodeAt(i + 2);
      if (a > 255 || b > 255 || c > 255) throw new RangeError("btoa: a character is beyond Latin-1");
      out.push(digits[a >> 2], digits[((a & 3) << 4) | (b >> 4 || 0)],
        isNaN(b) ? "=" : digits[((b & 15) << 2) | (c >> 6 || 0)], isNaN(c) ? "=" : digits[c & 63]);
    }
    return out.join("");
  });
  hidden("atob", (text) => {
    text = String(text).replace(/[\t\n\f\r ]/g, "");
    if (text.length % 4 === 0) text = text.replace(/==?$/, "");
    if (text.length % 4 === 1 || /[^A-Za-z0-9+/]/.test(text)) throw new RangeError("atob: not base64");
    let out = "", bits = 0, held = 0;
    for (const c of text) {
      held = ((held << 6) | value64.get(c)) & 0xfffff;
      bits += 6;
      if (bits >= 8) { bits -= 8; out += String.fromCharCode((held >> bits) & 255); }
    }
    return out;
  });
  const encode = (text) => fromLatin1(unescape(encodeURIComponent(String(text).toWellFormed())));
  const base64 = (bytes) => btoa(latin1(bytes));
  const unbase64 = (text) => fromLatin1(atob(text || ""));
  hidden("TextEncoder", class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return encode(text); }
    encodeInto(text, into) {
      const bytes = encode(text).subarray(0, into.length);
      into.set(bytes);
      return { read: text.length, written: bytes.length };
    }
  });
  hidden("TextDecoder", class TextDecoder {
    #fatal; #bom; #encoding;
    constructor(label = "utf-8", options = {}) {
      label = String(label).trim().toLowerCase();
      if (!["utf-8", "utf8", "latin1", "iso-8859-1", "ascii", "us-ascii"].includes(label)) throw new RangeError(`TextDecoder: ${label} is not known here`);
      this.#encoding = label.startsWith("utf") ? "utf-8" : "latin1";
      this.#fatal = !!options.fatal;
      this.#bom = !!options.ignoreBOM;
    }
    get encoding() { return this.#encoding; }
    get fatal() { return this.#fatal; }
    decode(data) {
      if (data === undefined) return "";
      const bytes = bytesOf(data);
      if (this.#encoding === "latin1") return latin1(bytes);
      const text = host("utf8", base64(bytes), this.#fatal);
      if (text === null) throw new TypeError("TextDecoder: not UTF-8");
      return !this.#bom && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    }
  });
  hidden("structuredClone", (value) => {
    const seen = new Map();
    const copy = (v) => {
      if (typeof v === "function" || typeof v === "symbol") throw new TypeError("structuredClone: a function cannot be copied");
      if (v === null || typeof v !== "object") return v;
      if (seen.has(v)) return seen.get(v);
      let out;
      if (v instanceof Date) out = new Date(v);
      else if (v instanceof RegExp) out = new RegExp(v.source, v.flags);
      else if (v instanceof ArrayBuffer) out = v.slice(0);
      else if (ArrayBuffer.isView(v)) out = new v.constructor(v.buffer.slice(v.byteOffset, v.byteOffset + v.byteLength));
      else if (v instanceof Error) { out = new v.constructor(v.message); out.stack = v.stack; }
      if (out) { seen.set(v, out); return out; }
      if (v instanceof Map) { out = new Map(); seen.set(v, out); for (const [k, x] of v) out.set(copy(k), copy(x)); return out; }
      if (v instanceof Set) { out = new Set(); seen.set(v, out); for (const x of v) out.add(copy(x)); return out; }
      out = Array.isArray(v) ? new Array(v.length) : {};
      seen.set(v, out);
      for (const k of Object.keys(v)) out[k] = copy(v[k]);
      return out;
    };
    return copy(value);
  });

  // ---- URL
  class URLSearchParams {
    #list = []; #changed = () => {};
    constructor(init = "", changed) {
      if (changed) this.#changed = changed;
      if (typeof init === "string") this.#read(init);
      else if (init && typeof init[Symbol.iterator] === "function") for (const [k, v] of init) this.#list.push([String(k), String(v)]);
      else for (const k of Object.keys(init || {})) this.#list.push([k, String(init[k])]);
    }
    #read(text) {
      this.#list = [];
      for (const part of text.replace(/^\?/, "").split("&")) {
        if (part === "") continue;
        const at = part.indexOf("=");
        const plain = (s) => host("unform", s);
        this.#list.push(at < 0 ? [plain(part), ""] : [plain(part.slice(0, at)), plain(part.slice(at + 1))]);
      }
    }
    get size() { return this.#list.length; }
    append(k, v) { this.#list.push([String(k), String(v)]); this.#changed(); }
    delete(k, v) { this.#list = this.#list.filter(([n, x]) => n !== String(k) || (v !== undefined && x !== String(v))); this.#changed(); }
    get(k) { const found = this.#list.find(([n]) => n === String(k)); return found ? found[1] : null; }
    getAll(k) { return this.#list.filter(([n]) => n === String(k)).map(([, v]) => v); }
    has(k, v) { return this.#list.some(([n, x]) => n === String(k) && (v === undefined || x === String(v))); }
    set(k, v) {
      const at = this.#list.findIndex(([n]) => n === String(k));
      if (at < 0) this.#list.push([String(k), String(v)]);
      else this.#list = this.#list.filter(([n], i) => n !== String(k) || i === at).map((p) => (p[0] === String(k) ? [p[0], String(v)] : p));
      this.#changed();
    }
    sort() { this.#list.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)); this.#changed(); }
    forEach(f, self) { for (const [k, v] of this.#list) f.call(self, v, k, this); }
    *entries() { yield* this.#list.map((p) => [...p]); }
    *keys() { for (const [k] of this.#list) yield k; }
    *values() { for (const [, v] of this.#list) yield v; }
    [Symbol.iterator]() { return this.entries(); }
    toString() { return this.#list.map(([k, v]) => `${host("form", k)}=${host("form", v)}`).join("&"); }
  }
  class URL {
    #parts; #params;
    constructor(href, base) { this.#take(host("url", String(href), base === undefined ? null : String(base), null, null), href); }
    #take(answer, what) {
      if (answer === null) throw new TypeError(`Invalid URL: ${what}`);
      this.#parts = JSON.parse(answer);
    }
    #alter(part, value) {
      const answer = host("url", this.#parts.href, null, part, String(value));
      if (answer !== null) this.#parts = JSON.parse(answer);
    }
    static canParse(href, base) { return host("url", String(href), base === undefined ? null : String(base), null, null) !== null; }
    static parse(href, base) { return URL.canParse(href, base) ? new URL(href, base) : null; }
    get origin() { return this.#parts.origin; }
    get searchParams() {
      if (!this.#params || this.#params.of !== this.#parts.search) {
        const params = new URLSearchParams(this.#parts.search, () => { this.#alter("search", params.toString()); this.#params.of = this.#parts.search; });
        this.#params = { params, of: this.#parts.search };
      }
      return this.#params.params;
    }
    toString() { return this.#parts.href; }
    toJSON() { return this.#parts.href; }
    static {
      for (const part of ["href", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "hash"]) {
        Object.defineProperty(URL.prototype, part, {
          enumerable: true, configurable: true,
          get() { return this.#parts[part]; },
          set(value) { part === "href" ? this.#take(host("url", String(value), null, null, null), value) : this.#alter(part, value); },
        });
      }
    }
  }
  hidden("URLSearchParams", URLSearchParams);
  hidden("URL", URL);

  // ---- events and abortion
  class Event {
    constructor(type) { this.type = type; }
    preventDefault() {}
  }
  class EventTarget {
    #all = new Map();
    addEventListener(type, f, options) {
      const list = this.#all.get(type) || [];
      list.push({ f, once: !!(options && options.once) });
      this.#all.set(type, list);
    }
    removeEventListener(type, f) { this.#all.set(type, (this.#all.get(type) || []).filter((l) => l.f !== f)); }
    dispatchEvent(event) {
      event.target = this;
      const handler = this["on" + event.type];
      if (typeof handler === "function") handler.call(this, event);
      for (const l of [...(this.#all.get(event.type) || [])]) {
        if (l.once) this.removeEventListener(event.type, l.f);
        typeof l.f === "function" ? l.f.call(this, event) : l.f.handleEvent(event);
      }
      return true;
    }
  }
  class DOMException extends Error {
    #name;
    constructor(message = "", name = "Error") { super(message); this.#name = name; }
    get name() { return this.#name; }
  }
  class AbortSignal extends EventTarget {
    aborted = false; reason = undefined;
    throwIfAborted() { if (this.aborted) throw this.reason; }
    static abort(reason) { const c = new AbortController(); c.abort(reason); return c.signal; }
    static timeout(ms) {
      const c = new AbortController();
      setTimeout(() => c.abort(new DOMException("the operation timed out", "TimeoutError")), ms);
      return c.signal;
    }
    static any(signals) {
      const c = new AbortController();
      for (const s of signals) {
        if (s.aborted) { c.abort(s.reason); break; }
        s.addEventListener("abort", () => c.abort(s.reason), { once: true });
      }
      return c.signal;
    }
  }
  class AbortController {
    signal = new AbortSignal();
    abort(reason) {
      if (this.signal.aborted) return;
      this.signal.aborted = true;
      this.signal.reason = reason === undefined ? new DOMException("the operation was aborted", "AbortError") : reason;
      this.signal.dispatchEvent(new Event("abort"));
    }
  }
  for (const [name, value] of Object.entries({ Event, EventTarget, DOMException, AbortSignal, AbortController })) hidden(name, value);

  // ---- fetch
  class Headers {
    #list = [];
    constructor(init) {
      if (init instanceof Headers || (init && typeof init[Symbol.iterator] === "function")) for (const [k, v] of init) this.append(k, v);
      else for (const k of Object.keys(init || {})) this.append(k, init[k]);
    }
    static #name(name) {
      name = String(name).toLowerCase();
      if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(name)) throw new TypeError(`Headers: ${JSON.stringify(name)} is no name`);
      return name;
    }
    append(k, v) { this.#list.push([Headers.#name(k), String(v).trim()]); }
    delete(k) { k = Headers.#name(k); this.#list = this.#list.filter(([n]) => n !== k); }
    get(k) { k = Headers.#name(k); const all = this.#list.filter(([n]) => n === k); return all.length ? all.map(([, v]) => v).join(", ") : null; }
    getSetCookie() { return this.#list.filter(([n]) => n === "set-cookie").map(([, v]) => v); }
    has(k) { return this.get(k) !== null; }
    set(k, v) { this.delete(k); this.append(k, v); }
    forEach(f, self) { for (const [k, v] of this) f.call(self, v, k, this); }
    *entries() { for (const k of [...new Set(this.#list.map(([n]) => n))].sort()) yield [k, this.get(k)]; }
    *keys() { for (const [k] of this) yield k; }
    *values() { for (const [, v] of this) yield v; }
    [Symbol.iterator]() { return this.entries(); }
  }
  class Body {
    #bytes; #used = false;
    constructor(bytes) { this.#bytes = bytes; }
    get bodyUsed() { return this.#used; }
    #take() {
      if (this.#used) throw new TypeError("the body was read already");
      this.#used = true;
      return this.#bytes;
    }
    async bytes() { return this.#take().slice(); }
    async arrayBuffer() { return this.#take().slice().buffer; }
    async text() { return new TextDecoder().decode(this.#take()); }
    async json() { return JSON.parse(await this.text()); }
    static peek(body) { if (body.#used) throw new TypeError("the body was read already"); return body.#bytes; }
  }
  const bodyBytes = (body, headers) => {
    if (body === undefined || body === null) return new Uint8Array();
    const kind = (type) => { if (!headers.has("content-type")) headers.set("content-type", type); };
    if (body instanceof URLSearchParams) { kind("application/x-www-form-urlencoded;charset=UTF-8"); return encode(body.toString()); }
    if (body instanceof ArrayBuffer || ArrayBuffer.isView(body)) return bytesOf(body).slice();
    if (typeof body !== "string" && Object.getPrototypeOf(body) === Object.prototype) throw new TypeError("a body is text or bytes; an object needs JSON.stringify");
    kind("text/plain;charset=UTF-8");
    return encode(body);
  };
  class Response extends Body {
    constructor(body, init = {}) {
      const headers = new Headers(init.headers);
      super(bodyBytes(body, headers));
      Object.assign(this, { status: init.status ?? 200, statusText: init.statusText ?? "", headers, url: init.url ?? "", redirected: !!init.redirected, type: "default" });
    }
    get ok() { return this.status >= 200 && this.status < 300; }
    clone() { return new Response(Body.peek(this), this); }
    static json(value, init = {}) { const r = new Response(JSON.stringify(value), init); if (!new Headers(init.headers).has("content-type")) r.headers.set("content-type", "application/json"); return r; }
    static error() { const r = new Response(null); r.status = 0; return r; }
  }
  class Request extends Body {
    constructor(input, init = {}) {
      const from = input instanceof Request ? input : null;
      const headers = new Headers(init.headers ?? from?.headers);
      const method = String(init.method ?? from?.method ?? "GET").toUpperCase();
      if ((method === "GET" || method === "HEAD") && init.body != null) throw new TypeError(`a ${method} request has no body`);
      super(init.body !== undefined ? bodyBytes(init.body, headers) : from ? Body.peek(from) : new Uint8Array());
      Object.assign(this, { url: from ? from.url : new URL(String(input)).href, method, headers, redirect: init.redirect ?? from?.redirect ?? "follow", signal: init.signal ?? from?.signal ?? null });
    }
    clone() { return new Request(this); }
  }
  const fetching = new Map();
  let nextFetch = 1;
  const fetch = (input, init) => new Promise((resolve, reject) => {
    const request = new Request(input, init);
    const { signal } = request;
    if (signal?.aborted) return reject(signal.reason);
    const id = nextFetch++;
    fetching.set(id, { resolve, reject });
    signal?.addEventListener("abort", () => {
      if (fetching.delete(id)) { host("abort", id); reject(signal.reason); }
    }, { once: true });
    host("fetch", JSON.stringify({ id, method: request.method, url: request.url, headers: [...request.headers], body: base64(Body.peek(request)), redirect: request.redirect }));
  });
  for (const [name, value] of Object.entries({ Headers, Request, Response, fetch })) hidden(name, value);

  // ---- crypto
  const algorithm = (a) => (typeof a === "string" ? a : a.name).toUpperCase();
  const hashName = (a) => {
    const name = algorithm(a);
    if (!["SHA-1", "SHA-256", "SHA-384", "SHA-512"].includes(name)) throw new DOMException(`${name} is not known here`, "NotSupportedError");
    return name;
  };
  class CryptoKey { constructor(secret, hash) { Object.defineProperty(this, "secret", { value: secret }); this.algorithm = { name: "HMAC", hash: { name: hash } }; this.type = "secret"; } }
  const hmac = (key, data) => unbase64(host("hmac", key.algorithm.hash.name, base64(key.secret), base64(bytesOf(data))));
  hidden("CryptoKey", CryptoKey);
  hidden("crypto", {
    randomUUID: () => host("uuid"),
    getRandomValues(into) {
      const bytes = bytesOf(into);
      if (bytes.length > 65536) throw new DOMException("at most 65536 bytes at once", "QuotaExceededError");
      bytes.set(unbase64(host("random", bytes.length)));
      return into;
    },
    subtle: {
      async digest(a, data) { return unbase64(host("digest", hashName(a), base64(bytesOf(data)))).buffer; },
      async importKey(format, data, a) {
        if (format !== "raw" || algorithm(a) !== "HMAC") throw new DOMException("only raw HMAC keys are known here", "NotSupportedError");
        return new CryptoKey(bytesOf(data).slice(), hashName(a.hash));
      },
      async sign(a, key, data) { return hmac(key, data).buffer; },
      async verify(a, key, signature, data) {
        const want = hmac(key, data), got = bytesOf(signature);
        let other = want.length ^ got.length;
        for (let i = 0; i < want.length; i++) other |= want[i] ^ got[i];
        return other === 0;
      },
    },
  });

  // ---- what the host calls
  const failure = (e) => {
    if (e instanceof Error) return { name: String(e.name), message: String(e.message), stack: String(e.stack ?? "") };
    return { name: "", message: `the script threw ${shown(e, 1)}`, stack: "" };
  };
  const end = (value) => {
    let text;
    try {
      text = JSON.stringify(value === undefined || typeof value === "function" ? null : value);
    } catch (e) {
      return fail(new TypeError(`what the script returned cannot be written as JSON: ${e.message}`));
    }
    host("end", text ?? "null");
  };
  const fail = (e) => { const f = failure(e); host("fail", f.name, f.message, f.stack); };
  hidden("__perigee", Object.freeze({
    async exported(module) {
      try {
        let value = module.default;
        // A helper may wrap the function that does the work.
        if (value !== null && typeof value === "object") for (const name of ["run", "execute", "handler"]) if (typeof value[name] === "function") { const whole = value; value = () => whole[name](context); break; }
        end(await (typeof value === "function" ? value(globalThis.context) : value));
      } catch (e) {
        fail(e);
      }
    },
    fire(id) {
      const t = timers.get(id);
      if (!t) return;
      if (t.again) host("timer", id, t.ms);
      else timers.delete(id);
      try { t.f(...t.args); } catch (e) { fail(e); }
    },
    fetched(text) {
      const a = JSON.parse(text), wait = fetching.get(a.id);
      if (!fetching.delete(a.id)) return;
      if (a.error) wait.reject(new TypeError(`fetch failed: ${a.error}`));
      else wait.resolve(new Response(unbase64(a.body), { status: a.status, statusText: a.statusText, headers: a.headers || [], url: a.url, redirected: a.redirected }));
    },
    fail,
  }));
})
