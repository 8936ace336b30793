// Keeps what the page fetches from its own site, so that it works without a network once it has been loaded.
// The network always comes first: a visitor who is online never sees an old page.

// build.sh writes a hash of the whole site here, so that every build has a cache of its own.
const CACHE = 'electra-page-__BUILD__'
const SHELL = [
  './', 'style.css', 'favicon.svg', 'electra.js', 'pipeline.js', 'place.js', 'checkpoints.js', 'source.js', 'device.js', 'worker.js', 'wasm/electra_wasm.js', 'samples/index.json',
  ...[
    'main', 'about', 'address', 'chart', 'detect', 'dom', 'fill', 'finetune', 'format', 'history', 'inspection', 'marks', 'model', 'results', 'run',
    'samples', 'saved', 'sent', 'settings', 'take', 'tasks', 'tryit', 'waiting', 'words', 'results/parts', 'results/curves', 'results/classification', 'results/multi-label', 'results/regression',
    'results/tagging', 'results/question-answering',
  ].map(name => `app/${name}.js`),
]

self.addEventListener('install', event => {
  self.skipWaiting()
  event.waitUntil(caches.open(CACHE).then(cache => cache.addAll(SHELL)))
})

self.addEventListener('activate', event => {
  event.waitUntil(dropOldCaches().then(() => self.clients.claim()))
})

self.addEventListener('fetch', event => {
  const { request } = event
  const own = new URL(request.url).origin === self.location.origin
  if (own && request.method === 'GET' && !request.headers.has('range')) event.respondWith(networkFirst(event))
})

async function dropOldCaches() {
  const names = await caches.keys()
  const old = names.filter(name => name.startsWith('electra-page-') && name !== CACHE)
  await Promise.all(old.map(name => caches.delete(name)))
}

async function networkFirst(event) {
  const { request } = event
  try {
    const response = await fetch(request)
    if (response.status === 200) event.waitUntil(keep(request, response.clone()))
    return response
  } catch (error) {
    const kept = await caches.match(request, { ignoreSearch: true })
    if (kept) return kept
    throw error
  }
}

/** Stores a response, unless the very same one is there: the engine and the model are large. */
async function keep(request, response) {
  const cache = await caches.open(CACHE)
  const before = await cache.match(request)
  const mark = headers => headers?.get('etag') ?? headers?.get('last-modified')
  if (before && mark(before.headers) && mark(before.headers) === mark(response.headers)) return response.body?.cancel()
  await cache.put(request, response).catch(() => {})
}
