// What left this page, in bytes, as the browser itself saw it. Files are fetched by address and no request has a body, so
// all that can be sent stands in an address: behind its ? to this site, all of it to any other but the hub of models.

import { say } from './dom.js'
import { bytes, plural } from './format.js'

const MAY_BE_ASKED = /(^|\.)(huggingface\.co|hf\.co)$/
const seen = { own: 0, hub: 0, sent: 0, other: [] }

/** Counts the page's own requests; the engine's come through `countFetched`. */
export function mountSent() {
  new PerformanceObserver(list => countFetched(list.getEntries().map(({ name }) => name))).observe({ type: 'resource', buffered: true })
  show()
}

export function countFetched(addresses) {
  for (const address of addresses) {
    const { href, search, origin, protocol, hostname } = new URL(address, document.baseURI)
    if (protocol === 'blob:' || protocol === 'data:') continue
    // Escaped as it is, an address has a byte a letter.
    const isOther = origin !== location.origin && !MAY_BE_ASKED.test(hostname)
    seen.sent += isOther ? href.length : search.slice(1).length
    if (isOther) seen.other.push(hostname)
    else if (origin === location.origin) seen.own++
    else seen.hub++
  }
  show()
}

function show() {
  const { own, hub, sent, other } = seen
  say('sent-line', `${sent < 1e5 ? plural(sent, 'byte') : bytes(sent)} sent`)
  const fetched = `${plural(own, 'file')} of this site fetched${hub ? `, ${hub} of Hugging Face` : ''}`
  const to = other.length ? `to ${[...new Set(other)].join(', ')}; ` : ''
  say('sent-detail', `(${to}${fetched}${sent ? '' : '; nothing went to anybody'})`)
}
