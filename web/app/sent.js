// What this page asked of the network, counted by the browser itself: files of its own site, and models by name. None of
// these requests has a body, so nothing of what is written or opened here can be in one.

import { say } from './dom.js'
import { plural } from './format.js'

const MAY_BE_ASKED = /(^|\.)(huggingface\.co|hf\.co)$/
const seen = { own: 0, hub: 0, other: [] }

/** Counts the page's own requests; the engine's come through `countFetched`. */
export function mountSent() {
  new PerformanceObserver(list => countFetched(list.getEntries().map(({ name }) => name))).observe({ type: 'resource', buffered: true })
  show()
}

export function countFetched(addresses) {
  for (const address of addresses) {
    const { origin, protocol, hostname } = new URL(address, document.baseURI)
    if (protocol === 'blob:' || protocol === 'data:') continue
    if (origin === location.origin) seen.own++
    else if (MAY_BE_ASKED.test(hostname)) seen.hub++
    else seen.other.push(hostname)
  }
  show()
}

function show() {
  const { own, hub, other } = seen
  say('sent-line', other.length ? `${plural(other.length, 'request')} to another site` : '0 bytes sent')
  const fetched = `${plural(own, 'file')} of this site fetched${hub ? `, ${hub} of Hugging Face` : ''}`
  say('sent-detail', other.length ? `(${[...new Set(other)].join(', ')}; ${fetched})` : `(${fetched}; nothing went to anybody)`)
}
