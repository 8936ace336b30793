// A static file server as plain as any: no special headers, the site under a sub-path, as on GitHub Pages.

import { createReadStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const PREFIX = '/electra/'

const TYPES = {
  '.css': 'text/css', '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.md': 'text/plain',
  '.mjs': 'text/javascript', '.svg': 'image/svg+xml', '.tsv': 'text/tab-separated-values', '.wasm': 'application/wasm',
}

/**
 * Serves `folder` under /electra/; `port` 0 takes any free one. Resolves with { address, log, close }; the log has a
 * { method, path, sent } for each request, with the bytes that it brought: behind the ? of its address, and in its body.
 */
export function startServer(folder, port = 0, headers = {}) {
  const log = []
  const server = createServer((request, response) => {
    const { pathname: path, search } = new URL(request.url, 'http://localhost')
    const entry = { method: request.method, path, sent: search.slice(1).length }
    log.push(entry)
    request.on('data', bytes => { entry.sent += bytes.length })
    answer(folder, headers, path, response)
  })
  return new Promise(done => {
    server.listen(port, '127.0.0.1', () => done({
      log,
      address: `http://127.0.0.1:${server.address().port}${PREFIX}`,
      close: () => {
        server.closeAllConnections()
        return new Promise(closed => server.close(closed))
      },
    }))
  })
}

function answer(folder, headers, path, response) {
  const file = locate(folder, path)
  if (!file) return response.writeHead(404, { 'content-type': 'text/plain' }).end('not found')
  response.writeHead(200, {
    ...headers,
    'content-type': TYPES[extname(file.path)] ?? 'application/octet-stream',
    'content-length': file.size,
    'last-modified': file.mtime.toUTCString(),
    'cache-control': 'no-cache',
  })
  createReadStream(file.path).pipe(response)
}

/** The file for an address under the prefix, or null; an address that climbs out of the folder finds nothing. */
function locate(folder, address) {
  if (!address.startsWith(PREFIX)) return null
  const name = decodeURIComponent(address.slice(PREFIX.length)) || 'index.html'
  const path = normalize(join(folder, name))
  if (!path.startsWith(resolve(folder))) return null
  const found = statSync(path, { throwIfNoEntry: false })
  return found?.isFile() ? { path, size: found.size, mtime: found.mtime } : null
}

// `node server.mjs FOLDER [PORT]` serves until it is stopped.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { address } = await startServer(resolve(process.argv[2]), Number(process.argv[3] ?? 8000))
  console.log(address)
}
