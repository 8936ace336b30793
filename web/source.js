// Where a model's files come from: a folder or zip by address, files chosen by the user, or the Hugging Face hub.
// Every source ends in the same thing: { file name: Blob }. A browser keeps large ones outside of the page's memory.

const HUB = 'https://huggingface.co'
const HUB_CACHE = 'electra-hub-1'
// In the order that transformers looks: the first is enough.
const WEIGHTS = ['model.safetensors', 'model.safetensors.index.json', 'pytorch_model.bin', 'pytorch_model.bin.index.json']
// No name begins with a dot: './models' is a folder.
const REPOSITORY = /^\w[\w.-]*\/\w[\w.-]*(@[\w./-]+)?$/

/**
 * Reads a model's files.
 * @param source `{ files }`, `{ url }` or `{ repo, revision }`, as `describeSource` makes them
 * @param onBytes called with `{ file, loaded, total }`; total is null where the server does not say
 */
export async function readSource(source, onBytes) {
  if (source.files) return readFiles(source.files)
  if (source.repo) return readHub(source, onBytes)
  if (isZip(source.url)) return { [baseName(source.url)]: await readZip(source.url, onBytes) }
  return readFolder(source.url, onBytes)
}

/** What the caller of `Electra.load` means; relative addresses are taken from `base`. */
export function describeSource(source, base) {
  if (source instanceof Blob) return { files: [named(source, 'model.zip')] }
  if (typeof source === 'string' && REPOSITORY.test(source) && !isZip(source)) {
    const [repo, revision] = source.split('@')
    return { repo, revision: revision ?? 'main' }
  }
  if (typeof source === 'string' || source instanceof URL) return { url: new URL(source, base).href }
  if (source?.repo) return { repo: source.repo, revision: source.revision ?? 'main' }
  const files = Array.from(source ?? [])
  if (files.length && files.every(file => file instanceof Blob)) return { files: files.map(file => named(file, file.name)) }
  throw new Error('Electra.load: the first argument is no model\n  Give the address of a folder or zip, files, or a Hugging Face repository name.')
}

function named(blob, otherwise) {
  return { name: baseName(blob.name ?? otherwise), blob }
}

function isZip(address) {
  return new URL(address, 'http://x').pathname.toLowerCase().endsWith('.zip')
}

function baseName(path) {
  return decodeURIComponent(path.split(/[?#]/)[0].split('/').filter(Boolean).pop() ?? 'model')
}

function readFiles(files) {
  const all = Object.fromEntries(files.map(({ name, blob }) => [name, blob]))
  if (files.length === 1 && !all['config.json']) {
    // One file is a zip, whatever it is called.
    const [name] = Object.keys(all)
    return { [name.endsWith('.zip') ? name : `${name}.zip`]: all[name] }
  }
  return all
}

async function readZip(url, onBytes) {
  const zip = await download(url, onBytes)
  if (!zip) throw new Error(`${url}: not found (404)\n  Check the address.`)
  return zip
}

async function readFolder(url, onBytes) {
  const folder = url.endsWith('/') ? url : `${url}/`
  const files = await readModelFiles(name => download(folder + name, onBytes))
  const missing = !files['config.json'] ? 'config.json' : hasWeights(files) ? null : 'model.safetensors'
  if (missing) throw new Error(`${folder}${missing}: not found (404)\n  Check the address: a model is a folder with config.json, model.safetensors or pytorch_model.bin, and tokenizer.json or vocab.txt.`)
  return files
}

async function readHub({ repo, revision }, onBytes) {
  if (!REPOSITORY.test(repo)) throw new Error(`${repo}: not the name of a Hugging Face repository\n  Write it as owner/name, for example google/electra-small-discriminator.`)
  const address = name => `${HUB}/${repo}/resolve/${encodeURIComponent(revision)}/${name}`
  const files = await readModelFiles(name => downloadCached(address(name), onBytes))
  if (!files['config.json']) throw new Error(`${repo}: Hugging Face has no such model, or no config.json at revision "${revision}"\n  Check the name; private and gated models cannot be read.`)
  if (!hasWeights(files)) throw new Error(`${repo}: there is no model.safetensors and no pytorch_model.bin at revision "${revision}"\n  Choose a model that has one.`)
  return files
}

const hasWeights = files => WEIGHTS.some(name => files[name])

/** The files of a model; `read` gives null for a file that is not there. */
async function readModelFiles(read) {
  const tokenizer = async () => {
    const json = await read('tokenizer.json')
    if (json) return [['tokenizer.json', json]]
    return Promise.all(['vocab.txt', 'special_tokens_map.json', 'added_tokens.json'].map(async name => [name, await read(name)]))
  }
  const plain = ['config.json', 'tokenizer_config.json']
  const all = await Promise.all([...plain.map(async name => [[name, await read(name)]]), tokenizer(), readWeights(read)])
  return Object.fromEntries(all.flat().filter(([, blob]) => blob))
}

/** The first form of the weights that is there; of an index with the files that it names. */
async function readWeights(read) {
  for (const name of WEIGHTS) {
    const blob = await read(name)
    if (!blob) continue
    const parts = name.endsWith('.index.json') ? partsOf(await blob.text()) : []
    return [[name, blob], ...await Promise.all(parts.map(async part => [part, await read(part)]))]
  }
  return []
}

function partsOf(index) {
  try {
    return [...new Set(Object.values(JSON.parse(index).weight_map))]
  } catch {
    // The engine says what is wrong with it.
    return []
  }
}

/** Like `download`, kept in the browser's cache so that the second time needs no network. */
async function downloadCached(url, onBytes) {
  const cache = await self.caches?.open(HUB_CACHE).catch(() => null)
  const hit = await cache?.match(url)
  if (hit) return readBody(hit, url, onBytes)
  const blob = await download(url, onBytes)
  if (blob) {
    const kept = new Response(blob, { headers: { 'content-length': String(blob.size) } })
    // A full disk or a private window may refuse; the model is in hand all the same.
    await cache?.put(url, kept).catch(() => {})
  }
  return blob
}

/** What is at `url`, or null where the server has no such file. */
async function download(url, onBytes) {
  const response = await fetchOrExplain(url)
  // The hub answers 401 for a repository that does not exist.
  if (response.status === 404 || response.status === 410 || (response.status === 401 && url.startsWith(HUB))) return null
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status} ${response.statusText}`.trim() + '\n  Check the address, or try again later.')
  return readBody(response, url, onBytes)
}

/** `fetch`, whose failure names the address and says what to do. */
export async function fetchOrExplain(url) {
  try {
    return await fetch(url)
  } catch {
    const own = new URL(url).origin === globalThis.location?.origin
    const remedy = globalThis.navigator?.onLine === false
      ? 'This machine is offline; connect it and try again.'
      : own ? 'Check the connection and try again.' : 'Check the address and the connection; the other site must also allow being read from this page (CORS).'
    throw new Error(`${url}: could not be fetched\n  ${remedy}`)
  }
}

function readBody(response, url, onBytes) {
  return new Response(countBytes(response, url, onBytes)).blob().catch(() => {
    throw new Error(`${url}: the download broke off\n  Check the connection and try again.`)
  })
}

/** The response's body as a stream that reports its bytes as they pass. */
export function countBytes(response, url, onBytes) {
  const file = baseName(url)
  // Of a compressed response the length is that of the compressed bytes, which we never see.
  const size = response.headers.get('content-encoding') ? null : Number(response.headers.get('content-length')) || null
  let loaded = 0
  onBytes({ file, loaded, total: size })
  return response.body.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      loaded += chunk.length
      onBytes({ file, loaded, total: size && Math.max(size, loaded) })
      controller.enqueue(chunk)
    },
    flush() {
      onBytes({ file, loaded, total: loaded })
    },
  }))
}
