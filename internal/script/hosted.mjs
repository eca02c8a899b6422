// What Node or Bun is started with to run a script: the same in it as in the engine (what
// is exported, and what becomes of it), and the answer goes out by a pipe of its own.
import { writeSync } from "node:fs";
import { inspect } from "node:util";

let said = false;
const say = (text) => {
  if (said) return;
  said = true;
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(3, bytes, at);
    } catch (e) {
      if (e.code !== "EAGAIN") throw e;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
  process.exit(0);
};
const fail = (e) =>
  say(JSON.stringify({
    thrown: e instanceof Error
      ? { name: String(e.name), message: String(e.message), stack: String(e.stack ?? "") }
      : { name: "", message: `the script threw ${inspect(e)}`, stack: "" },
  }));
const end = (value) => {
  let text;
  try {
    text = JSON.stringify(value === undefined || typeof value === "function" ? null : value);
  } catch (e) {
    return fail(new TypeError(`what the script returned cannot be written as JSON: ${e.message}`));
  }
  say(`{"value":${text ?? "null"}}`);
};
process.on("uncaughtException", fail);
process.on("unhandledRejection", fail);
process.on("beforeExit", () => fail(new Error("the script waits for something that never comes: nothing is left that could end it")));
globalThis.context = CONTEXT;
globalThis.__perigee = Object.freeze({
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
});
try {
  await import("./perigee-check.mjs");
} catch (e) {
  fail(e);
}
