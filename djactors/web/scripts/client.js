/**
 * Puts the stock client's own bundles beside the page: the server offers them under `/socket.io/`, as the reference
 * server does, so that a page needs no build of its own to connect. Not the one with another parser (msgpack), which
 * djactors does not speak.
 */
import { copyFileSync, mkdirSync } from 'node:fs'

const FROM = new URL('../node_modules/socket.io-client/dist/', import.meta.url)
const TO = new URL('../dist/socket.io/', import.meta.url)

mkdirSync(TO, { recursive: true })
for (const name of ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js']) {
  for (const file of [name, `${name}.map`]) copyFileSync(new URL(file, FROM), new URL(file, TO))
}
