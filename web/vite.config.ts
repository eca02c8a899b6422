import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

// `npm run dev` serves the sources and hands everything else to a core, by itself
// the one of `make dev`.
const core = process.env.PERIGEE_URL ?? 'http://127.0.0.1:8420';

/**
 * Packs what was built for the program, which holds it in that way alone: each file that gets
 * smaller by it with gzip. The same files are packed to the same bytes, whenever and wherever.
 */
function pack(): Plugin {
  const here = import.meta.dirname;
  const [dist, packed] = [join(here, 'dist'), join(here, 'packed')];
  const plain = ['index.html']; // the core puts a nonce in
  const left = ['manifest.json']; // for tests
  return {
    name: 'pack',
    apply: 'build',
    closeBundle() {
      for (const old of readdirSync(packed)) if (old !== '.gitkeep') rmSync(join(packed, old), { recursive: true });
      for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
        const from = join(entry.parentPath, entry.name);
        const name = from.slice(dist.length + 1);
        if (!entry.isFile() || left.includes(name)) continue;
        const body = readFileSync(from);
        const small = gzipSync(body, { level: constants.Z_BEST_COMPRESSION });
        small[9] = 255; // the system that it was made on is nobody's business
        const to = join(packed, name);
        mkdirSync(dirname(to), { recursive: true });
        if (plain.includes(name) || small.length >= body.length) cpSync(from, to);
        else writeFileSync(`${to}.gz`, small);
      }
    },
  };
}

export default defineConfig({
  plugins: [react(), pack()],
  // The core puts a nonce of its own in its place, in every answer.
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    // Data addresses are not among what the content security policy lets in.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    target: 'es2022',
  },
  worker: { format: 'es' }, // of which parts are loaded when they are needed
  // What scripts find is declared beside their runtime.
  server: { fs: { allow: ['..'] }, proxy: { '/api': core, '/session': core, '/setup': core } },
});
