import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

// `npm run dev` serves the sources and hands everything else to a core, by itself
// the one of `make dev`.
const core = process.env.PERIGEE_URL ?? 'http://127.0.0.1:8420';

export default defineConfig({
  plugins: [react()],
  // The core puts a nonce of its own in its place, in every answer.
  html: { cspNonce: '__CSP_NONCE__' },
  build: {
    // Data addresses are not among what the content security policy lets in.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: 'manifest.json',
    target: 'es2022',
  },
  // What scripts find is declared beside their runtime.
  server: { fs: { allow: ['..'] }, proxy: { '/api': core, '/session': core, '/setup': core } },
});
