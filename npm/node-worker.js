// A thread of Node.js dressed as a browser's worker, for worker.js.

import { parentPort, workerData } from 'node:worker_threads'
import { fetchFile } from './node-files.js'

const fetchAddress = globalThis.fetch
const LISTEN = {
  error: hear => process.on('uncaughtException', error => hear({ error, preventDefault() {} })),
  unhandledrejection: hear => process.on('unhandledRejection', reason => hear({ reason })),
}

globalThis.self = Object.assign(globalThis, {
  isSecureContext: true,
  fetch: (url, options) => fetchFile(url) ?? fetchAddress(url, options),
  postMessage: (data, transfer) => parentPort.postMessage(data, transfer),
  addEventListener: (type, hear) => LISTEN[type](hear),
})
// Node.js 20 has none.
globalThis.navigator ??= {}

await import(workerData)
parentPort.on('message', data => self.onmessage({ data }))
