// Each line says something that is true of what the web has.
const server = process.env.SERVER
const wrong: string[] = []
const is = (what: string, got: unknown, want: unknown) => {
  if (JSON.stringify(got) !== JSON.stringify(want)) wrong.push(`${what}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`)
}
const fails = async (what: string, f: () => unknown, name: string) => {
  try {
    await f()
    wrong.push(`${what}: did not fail`)
  } catch (e) {
    is(what, (e as Error).name, name)
  }
}

is("btoa", btoa("häuser"), "aORic2Vy".replace("or", "or") && btoa("h\u00e4user"))
is("atob", atob("aGVsbG8="), "hello")
is("atob of btoa", ["", "a", "ab", "abc", "\u00ff\u0000"].every((s) => atob(btoa(s)) === s), true)
await fails("btoa of more", () => btoa("€"), "RangeError")
await fails("atob of nonsense", () => atob("!"), "RangeError")

is("encode", [...new TextEncoder().encode("ä€😀")], [195, 164, 226, 130, 172, 240, 159, 152, 128])
is("decode", new TextDecoder().decode(new Uint8Array([195, 164, 226, 130, 172, 240, 159, 152, 128])), "ä€😀")
is("decode wrong", new TextDecoder().decode(new Uint8Array([0x61, 0xff])), "a\ufffd")
await fails("decode wrong, fatal", () => new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array([0xff])), "TypeError")

const u = new URL("../b?x=1&y=a+b#h", "https://user:pw@host.test:8443/a/c")
is("href", u.href, "https://user:pw@host.test:8443/b?x=1&y=a+b#h")
is("parts", [u.origin, u.protocol, u.username, u.host, u.port, u.pathname, u.search, u.hash], ["https://host.test:8443", "https:", "user", "host.test:8443", "8443", "/b", "?x=1&y=a+b", "#h"])
is("params", [u.searchParams.get("y"), u.searchParams.get("z"), u.searchParams.size], ["a b", null, 2])
u.searchParams.append("z", "ü&")
is("params write through", u.search, "?x=1&y=a+b&z=%C3%BC%26")
u.pathname = "/new path"
u.hash = ""
is("set", u.href, "https://user:pw@host.test:8443/new%20path?x=1&y=a+b&z=%C3%BC%26")
is("canParse", [URL.canParse("nonsense"), URL.canParse("http://[::1]/")], [false, true])
await fails("no URL", () => new URL("nonsense"), "TypeError")
is("URLSearchParams", new URLSearchParams({ a: "1 2", b: "ä" }).toString(), "a=1+2&b=%C3%A4")

const order: string[] = []
queueMicrotask(() => order.push("micro"))
setTimeout(() => order.push("late"), 20)
setTimeout((x: string) => order.push(x), 1, "early")
const never = setTimeout(() => order.push("never"), 5)
clearTimeout(never)
let beats = 0
await new Promise<void>((done) => {
  const beat = setInterval(() => {
    if (++beats === 3) {
      clearInterval(beat)
      done()
    }
  }, 1)
})
await new Promise((r) => setTimeout(r, 40))
is("timers", [order, beats], [["micro", "early", "late"], 3])

is("structuredClone", structuredClone({ a: [1, new Date(0)], m: new Map([[1, 2]]) }).a, [1, "1970-01-01T00:00:00.000Z"])
is("uuid", /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(crypto.randomUUID()), true)
is("random", crypto.getRandomValues(new Uint8Array(32)).some((b) => b !== 0), true)
const hex = (b: ArrayBuffer) => [...new Uint8Array(b)].map((x) => x.toString(16).padStart(2, "0")).join("")
is("digest", hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
const key = await crypto.subtle.importKey("raw", new TextEncoder().encode("key"), { name: "HMAC", hash: "SHA-256" }, false, ["sign"])
const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode("The quick brown fox jumps over the lazy dog"))
is("hmac", hex(mac), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8")
is("verify", [await crypto.subtle.verify("HMAC", key, mac, new TextEncoder().encode("The quick brown fox jumps over the lazy dog")), await crypto.subtle.verify("HMAC", key, mac, new Uint8Array())], [true, false])

const r = await fetch(`${server}/echo?a=1&a=2`, { method: "POST", headers: { Authorization: "Bearer x", "content-type": "text/x" }, body: "hi" })
is("fetch", [r.status, r.ok, r.statusText, r.headers.get("x-method"), r.redirected], [418, false, "I'm a teapot", "POST", false])
is("json", await r.json(), { auth: "Bearer x", q: { a: ["1", "2"] }, type: "text/x" })
await fails("a body read twice", () => r.text(), "TypeError")
const moved = await fetch(new URL("/away", server))
is("redirect", [moved.status, moved.redirected, moved.url], [418, true, `${server}/echo`])
is("manual", [(await fetch(`${server}/away`, { redirect: "manual" })).status], [302])
await fails("no redirect wanted", () => fetch(`${server}/away`, { redirect: "error" }), "TypeError")
await fails("nobody there", () => fetch("http://127.0.0.1:1/"), "TypeError")
await fails("no http", () => fetch("file:///etc/passwd"), "TypeError")
await fails("an answer without end", () => fetch(`${server}/huge`), "TypeError")
await fails("abort", () => fetch(`${server}/slow`, { signal: AbortSignal.timeout(20) }), "TimeoutError")
const all = await Promise.all(Array.from({ length: 20 }, () => fetch(`${server}/echo`, { method: "PUT", body: new URLSearchParams({ a: "b" }) }).then((x) => x.json())))
is("many at once", all.map((x: { type: string }) => x.type).every((x) => x === "application/x-www-form-urlencoded;charset=UTF-8"), true)
is("Response", await Response.json({ a: 1 }).json(), { a: 1 })

class Box {
  #held = 1
  static async *count() {
    yield 1
    yield 2
  }
  get held() {
    return this.#held
  }
}
const counted: number[] = []
for await (const n of Box.count()) counted.push(n)
is("language", [new Box().held, counted, Object.groupBy([1, 2, 3], (n) => (n % 2 ? "odd" : "even")), 2n ** 64n === 18446744073709551616n], [1, [1, 2], { odd: [1, 3], even: [2] }, true])

return { success: wrong.length === 0, message: wrong.join("\n") }
