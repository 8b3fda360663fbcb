import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// Where a djactors server listens while the page is served by Vite: DJACTORS_URL=http://127.0.0.1:3000 npm run dev
const server = process.env.DJACTORS_URL ?? 'http://127.0.0.1:3000'
const proxy = { '/api': server, '/socket.io': { target: server, ws: true } }

// As the server sends it, so that a preview shows at once what it forbids.
const csp =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; font-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; manifest-src 'self'; media-src 'self' data:"

export default defineConfig({
  base: '/',
  plugins: [react(), tailwindcss()],
  server: { proxy },
  preview: { proxy, headers: { 'Content-Security-Policy': csp } },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    // The page runs under `script-src 'self'; style-src 'self'; img-src 'self' data:`: nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    manifest: true,
    target: 'es2022',
  },
  test: {
    environment: 'jsdom',
    include: ['tests/**/*.test.{js,jsx}'],
    setupFiles: ['tests/setup.js'],
    restoreMocks: true,
  },
})
