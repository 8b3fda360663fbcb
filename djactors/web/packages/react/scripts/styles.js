/**
 * Writes `dist/styles.css`: plain CSS for the class names that `dist/index.js` uses, each with the prefix that `jsx-runtime.js`
 * gives it.
 *
 * Rules: a rule of the package weighs two classes, `dj` and its own, and so more than a host's rules for elements. Nothing in
 * it applies to an element without the class `dj`, but for variables, key frames, and the page that does not scroll
 * behind an open panel. The variables that Tailwind works with get the package's prefix, too.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import { compile, optimize } from '@tailwindcss/node'
import { Scanner } from '@tailwindcss/oxide'

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

const content = readFileSync(here('../dist/index.js'), 'utf8')
const names = new Scanner({}).scanFiles([{ content, extension: 'js' }])
const { build } = await compile(readFileSync(here('styles.css'), 'utf8'), { base: here('.'), onDependency() {} })
const css = build(names.map((name) => `dj:${name}`))
  .replaceAll('--tw-', '--dj-tw-')
  // Utilities for the children of an element weigh nothing, as Tailwind writes them, and the reset would win.
  .replaceAll(':where(.dj\\:', ':is(.dj\\:')
  .replace(/(?<![\w-])\.dj\\:/g, '.dj.dj\\:')
writeFileSync(here('../dist/styles.css'), optimize(css, { minify: false }).code)
