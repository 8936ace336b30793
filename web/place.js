// Where the library runs: what a page has for it. The package's node.js puts Node's ways in their place.

import { fetchOrExplain } from './source.js'

export const place = {
  startRemedy: 'Check the connection and that the browser is not older than 2023.',

  fetch: fetchOrExplain,

  /** What relative addresses are relative to; a page's worker may use this library, too. */
  base: () => globalThis.document?.baseURI ?? globalThis.location.href,

  startWorker(address) {
    // A worker started from a blob inherits the page's Content-Security-Policy; started from its address it would
    // have none. It also lets a page of another site use this library.
    const start = URL.createObjectURL(new Blob([`import ${JSON.stringify(address)}`], { type: 'text/javascript' }))
    const worker = new Worker(start, { type: 'module', name: 'electra' })
    worker.addEventListener('message', () => URL.revokeObjectURL(start), { once: true })
    return worker
  },
}
