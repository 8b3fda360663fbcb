/**
 * Builds the package's one JavaScript file from the sources that the page uses, for hosts that have no Tailwind.
 *
 * Rules: React, its DOM, Zustand and the Socket.IO client stay imports, so that a host has each of them once. JSX is compiled to
 * `scripts/jsx`, which gives every element of the package its prefixed class names.
 */
import { fileURLToPath } from 'node:url'

import { defineConfig } from 'vite'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

export default defineConfig({
  root: here('..'),
  publicDir: false,
  resolve: { alias: { 'dj/jsx-runtime': here('jsx-runtime.js') } },
  oxc: { jsx: { runtime: 'automatic', importSource: 'dj' } },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    minify: false,
    lib: { entry: 'src/index.js', formats: ['es'], fileName: 'index' },
    rolldownOptions: {
      external: [/^react($|\/)/, /^react-dom($|\/)/, /^zustand($|\/)/, 'socket.io-client'],
      // What the page fetches on demand, a host's own build may split as it likes.
      checks: { ineffectiveDynamicImport: false },
      // Frameworks that render on the server have to know that these components need a browser.
      output: { banner: "'use client'\n" },
    },
  },
})
