import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

const modules = join(import.meta.dirname, '../node_modules');

/** An npm registry on loopback that has the packages which the web interface is built of, as they are. */
export class Registry {
  #server: Server = createServer((request, answer) => {
    const [name = '', tarball] = decodeURIComponent(request.url ?? '/')
      .slice(1)
      .split('/-/');
    try {
      answer.end(tarball ? packed(name) : JSON.stringify(this.#document(name)));
    } catch {
      answer.writeHead(404).end('{}');
    }
  });
  url = '';

  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    return this.url;
  }

  #document(name: string) {
    const manifest = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8'));
    const integrity = `sha512-${createHash('sha512').update(packed(name)).digest('base64')}`;
    const dist = { integrity, tarball: `${this.url}/${name}/-/package.tgz` };
    return { name, versions: { [manifest.version]: { ...manifest, dist } } };
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

const tarballs = new Map<string, Buffer>();

function packed(name: string): Buffer {
  const made =
    tarballs.get(name) ??
    execFileSync('tar', ['-czf', '-', '-C', join(modules, name), '--transform', 's,^\\.,package,', '.'], {
      maxBuffer: 64 << 20,
    });
  tarballs.set(name, made);
  return made;
}

/** The version of a package that the registry has. */
export const versionOf = (name: string): string =>
  JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')).version;
