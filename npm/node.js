// The library under Node.js, on the CPU: a thread of node:worker_threads is the worker, and files are read by their paths.

import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { fetchFile } from './node-files.js'
import { place } from './place.js'

const START = new URL('./node-worker.js', import.meta.url)
const fetchOrExplain = place.fetch

Object.assign(place, {
  startRemedy: 'Install the package anew; Node.js 20 or later is needed.',
  fetch: url => fetchFile(url) ?? fetchOrExplain(url),
  base: () => pathToFileURL('./').href,
  startWorker: address => new Thread(address),
})

/** A thread with a browser's manners. It keeps the process alive only while an answer is awaited. */
class Thread {
  #thread
  #awaited = 0

  constructor(address) {
    this.#thread = new Worker(START, { workerData: address, name: 'electra' })
    this.#thread.unref()
    this.#thread.on('message', data => {
      this.onmessage({ data })
      if (data.ok !== undefined && --this.#awaited === 0) this.#thread.unref()
    })
    this.#thread.on('error', error => this.onerror({ message: error.message, preventDefault() {} }))
  }

  postMessage(request) {
    // What has no number gets no answer.
    if (request.id !== undefined) {
      this.#awaited++
      this.#thread.ref()
    }
    this.#thread.postMessage(request)
  }

  terminate() {
    this.#thread.terminate()
  }
}

export * from './electra.js'
