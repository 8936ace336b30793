// Node's fetch does not know file: addresses.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'

/** The answer for a file's address, as of a server; null for any other address. */
export function fetchFile(url) {
  return String(url).startsWith('file:') ? respond(fileURLToPath(url)) : null
}

async function respond(path) {
  const about = await stat(path).catch(() => null)
  if (!about?.isFile()) return new Response(null, { status: 404 })
  return new Response(Readable.toWeb(createReadStream(path)), { headers: { 'content-length': String(about.size) } })
}
