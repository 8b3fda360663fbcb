/**
 * Adds up what a browser downloads before the page works, and fails over the budget.
 *
 * First load is the entry chunk and everything that it imports at once; what is imported on demand (the observer) is
 * told, but not counted.
 */
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const BUDGET = 120 * 1024 // bytes of compressed JavaScript on first load
const DIST = new URL('../dist/', import.meta.url)

const manifest = JSON.parse(readFileSync(new URL('.vite/manifest.json', DIST), 'utf8'))
const size = (file) => gzipSync(readFileSync(new URL(file, DIST)), { level: 9 }).length
const kilobytes = (bytes) => `${(bytes / 1024).toFixed(1)} KB`

function closure(key, seen = new Set()) {
  if (seen.has(key)) return seen
  seen.add(key)
  for (const next of manifest[key].imports ?? []) closure(next, seen)
  return seen
}

const first = new Set()
for (const [key, chunk] of Object.entries(manifest)) if (chunk.isEntry) closure(key, first)
let total = 0
for (const key of first) {
  const bytes = size(manifest[key].file)
  total += bytes
  console.log(`first load  ${manifest[key].file}  ${kilobytes(bytes)}`)
}
for (const [key, chunk] of Object.entries(manifest)) {
  if (!first.has(key) && chunk.file.endsWith('.js')) console.log(`on demand   ${chunk.file}  ${kilobytes(size(chunk.file))}`)
}
console.log(`first load JavaScript: ${kilobytes(total)} gzip of ${kilobytes(BUDGET)}`)
if (total === 0 || total > BUDGET) {
  console.error(total === 0 ? 'no entry was found' : 'over the budget')
  process.exit(1)
}
