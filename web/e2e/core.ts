import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const bin = (name: string) => join(import.meta.dirname, '../../bin', name);
export const TOKEN = 'perigee_administrator-of-a-test';

/** A port for a core: none of those that the kernel gives to whoever asks for any. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = createServer().listen(port, '127.0.0.1');
    const free = await once(server, 'listening').catch(() => null);
    if (!free) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** A core as a process, on SQLite, with what was started beside it. */
export class Core {
  #processes: ChildProcess[] = [];
  #dir = mkdtempSync(join(tmpdir(), 'perigee-web-'));
  #said = '';
  url = '';

  /** Starts a core; one that is fresh has no token of ours, and prints how to get in. */
  static async start({ fresh = false, args = [] as string[] } = {}): Promise<Core> {
    const core = new Core();
    const port = await freePort();
    core.url = `http://127.0.0.1:${port}`;
    core.#run(
      'perigee',
      ['serve', '--no-local', '--listen', `127.0.0.1:${port}`, '--data-dir', join(core.#dir, 'core'), ...args],
      fresh ? {} : { PERIGEE_ADMIN_TOKEN: TOKEN },
    );
    for (;;) {
      if (core.#processes[0]?.exitCode !== null) throw new Error('the core has ended');
      const ready = await fetch(`${core.url}/readyz`).catch(() => null);
      if (ready?.ok) return core;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  #run(name: string, args: string[], env: Record<string, string>): ChildProcess {
    const child = spawn(bin(name), args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    let said = '';
    child.stdout?.on('data', (text) => {
      this.#said = (this.#said + text).slice(-4000);
    });
    child.stderr?.on('data', (text) => {
      said = (said + text).slice(-4000);
    });
    child.on('exit', (code, signal) => {
      if (code !== 0 && signal !== 'SIGTERM') console.error(`${name} ended with ${code ?? signal}:\n${said}`);
    });
    this.#processes.push(child);
    return child;
  }

  /** What was printed, when it has that in it. */
  async says(what: RegExp): Promise<string> {
    while (!what.test(this.#said)) await new Promise((resolve) => setTimeout(resolve, 50));
    return this.#said;
  }

  /** Runs a satellite as its process. */
  satellite(id: string, token: string, args: string[] = []): ChildProcess {
    return this.#run(
      'perigee-satellite',
      ['--core', this.url, '--id', id, '--data-dir', join(this.#dir, id), ...args],
      { PERIGEE_SATELLITE_TOKEN: token },
    );
  }

  /** Makes a satellite's record, runs it, and waits until it is online. */
  async enrol(
    name: string,
    region: string,
    tags: Record<string, string> = {},
    args: string[] = [],
  ): Promise<ChildProcess> {
    const made = await this.send<{ token: string; satellite: { id: string } }>('POST', '/satellites', {
      name,
      region,
      tags,
    });
    const child = this.satellite(made.satellite.id, made.token, args);
    for (;;) {
      const { status } = await this.send<{ status: string }>('GET', `/satellites/${name}`);
      if (status === 'online') return child;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** Makes a system with a check of it that runs on one satellite. */
  async watch(system: string, check: string, spec: object, satellite: string): Promise<void> {
    await this.send('POST', '/systems', { name: system });
    await this.send('POST', '/checks', { name: check, spec });
    await this.send('POST', '/assignments', {
      name: `${check}-${system}`,
      check,
      system,
      includeLocal: false,
      satellites: { names: [satellite] },
    });
  }

  async send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: { Authorization: `Bearer ${TOKEN}`, 'Content-Type': 'application/json' },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text ? JSON.parse(text) : undefined) as T;
  }

  async stop(): Promise<void> {
    for (const child of this.#processes.reverse()) {
      if (child.exitCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** A page that is watched: it answers 200 or, turned off, 503. */
export class Target {
  up = true;
  #server: Server = createServer((_, answer) => {
    answer.statusCode = this.up ? 200 : 503;
    answer.end('hello');
  });

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
