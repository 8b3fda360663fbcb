import tailwindcss from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import { defineConfig } from 'vitest/config'

// Where a djactors server listens while the page is served by Vite: DJACTORS_URL=http://127.0.0.1:3000 npm run dev
const server = process.env.DJACTORS_URL ?? 'http://127.0.0.1:3000'
const proxy = { '/api': server, '/socket.io': { target: server, ws: true } }

export default defineConfig({
  base: '/',
  plugins: [react(), tailwindcss()],
  server: { proxy },
  preview: { proxy },
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
