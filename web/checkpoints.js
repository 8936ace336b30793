// The training run under way, kept in the browser's private file system: a reload, a crash or an empty battery does
// not lose it.
//
// A run is the file job-ID (the model's files, the data, the settings), written once, and two slots, written in turns:
// state-0 and state-1 (where the run stands), each with its manifest. A manifest is emptied before its state is touched
// and written when the state is whole, so whatever happens in between, the other slot holds the checkpoint before.
// Reading works anywhere; writing needs a worker.

import { piecesOf } from './pieces.js'

const FOLDER = 'electra-run'
const LOCK = 'electra-run'
const FORMAT = 2
const SLOTS = [0, 1]
// A page that was just reloaded or closed may take a moment to let go.
const PATIENCE = 3000
const FORGET = 'Discard it and start the run again.'

/** What is saved, in a few words, or null; the run's own files are not read. */
export async function savedRun() {
  const folder = await openFolder().catch(() => null)
  const [newest] = folder ? await wholeManifests(folder) : []
  if (!newest) return null
  const { title, about, task, step, steps, time, device, wish } = newest
  return { title, about, task, step, steps, time, device, wish, active: await isHeld() }
}

/** Everything of the saved run, checked byte for byte: the newest checkpoint, or the one before where that is damaged. */
export async function readRun() {
  return holding(async () => {
    const folder = await openFolder()
    const found = await wholeManifests(folder)
    if (!found.length) throw new Error('No run is saved here.\n  Start one with finetune({ checkpointEvery }).')
    for (const manifest of found) {
      const read = await readWhole(folder, manifest)
      if (read) return read
    }
    throw damaged()
  })
}

/** Removes the saved run, whole or damaged. */
export async function forgetRun() {
  if (!await openFolder().catch(() => null)) return
  await holding(async () => clear(await openFolder()))
}

async function holding(work) {
  const release = await holdRun()
  if (!release) throw new Error('The saved run is going on now.\n  Stop it first, here or in the other tab.')
  try {
    return await work()
  } finally {
    release()
  }
}

/**
 * The right to write, for one run at a time in all tabs: a function that gives it back, or null where another has it.
 * Throws where the browser keeps no files.
 */
export async function holdRun() {
  await openFolder({ create: true })
  return new Promise(resolve => {
    const granted = () => new Promise(release => resolve(release))
    navigator.locks.request(LOCK, { signal: AbortSignal.timeout(PATIENCE) }, granted).catch(() => resolve(null))
  })
}

/**
 * Writes a checkpoint; only who holds the run may.
 * @param run `id`, `job` (what never changes: { about: JSON, files: { name: Blob or bytes } }) and `summary`, as `savedRun` tells it
 * @param parts the state: { name: bytes }, or a function that hands them piece by piece to the one it is given
 * @returns its size in bytes
 */
export async function writeRun({ id, job, summary }, parts) {
  const folder = await openFolder({ create: true })
  const [newest] = await wholeManifests(folder).catch(() => [])
  const before = newest?.id === id ? newest : null
  const slot = newest ? 1 - newest.slot : 0
  await writeFile(folder, manifestName(slot), {})
  try {
    const written = before?.job ?? await writeFile(folder, `job-${id}`, { 'job.json': toBytes(job.about), ...job.files })
    const state = await writeFile(folder, `state-${slot}`, parts)
    await writeManifest(folder, slot, { format: FORMAT, sequence: (newest?.sequence ?? 0) + 1, id, ...summary, job: written, state })
    // From here on the checkpoint counts, whatever becomes of what it replaces.
    await dropOthers(folder, { slot, before, job: written }).catch(() => {})
    return state.size
  } catch (error) {
    // What is half written would only take room.
    for (const name of [manifestName(slot), `state-${slot}`, ...(before ? [] : [`job-${id}`])]) await remove(folder, name)
    throw error
  }
}

/** Removes the run `id` where it is the one that is saved; only who holds the run may. */
export async function finishRun(id) {
  const folder = await openFolder()
  const found = folder ? await wholeManifests(folder).catch(() => []) : []
  if (found[0]?.id === id) await clear(folder)
}

// ---- manifests

function manifestName(slot) {
  return `manifest-${slot}`
}

/** The manifests whose files are all there, the newest first. Throws where there are some and none is usable. */
async function wholeManifests(folder) {
  const all = (await Promise.all(SLOTS.map(slot => readManifest(folder, slot)))).filter(Boolean)
  const whole = all.filter(({ problem }) => !problem).sort((a, b) => b.sequence - a.sequence)
  if (!whole.length && all.length) throw all[0].problem
  return whole
}

/** A manifest, null where there is none, or { problem } where it cannot be used. */
async function readManifest(folder, slot) {
  const file = await getFile(folder, manifestName(slot))
  if (!file?.size) return null
  const manifest = await parseManifest(await file.text().catch(() => ''))
  if (!manifest) return { problem: damaged() }
  if (manifest.format !== FORMAT) return { problem: new Error(`The saved run was written by another version of this page.\n  ${FORGET}`) }
  for (const { file: name, size } of [manifest.job, manifest.state]) {
    if ((await getFile(folder, name))?.size !== size) return { problem: damaged() }
  }
  return { slot, ...manifest }
}

async function parseManifest(text) {
  try {
    const { sha256, manifest } = JSON.parse(text)
    return await digest(toBytes(manifest)) === sha256 ? manifest : null
  } catch {
    return null
  }
}

async function writeManifest(folder, slot, manifest) {
  const sha256 = await digest(toBytes(manifest))
  await writeFile(folder, manifestName(slot), { manifest: toBytes({ sha256, manifest }) })
}

function damaged() {
  return new Error(`The saved run is damaged and cannot be continued.\n  ${FORGET}`)
}

// ---- files

/** What `writeRun` wrote: { id, about, files, parts }, Blobs of files that are there until the next checkpoint, or null where a byte is not what it was. */
async function readWhole(folder, { id, job, state, ...summary }) {
  const [{ 'job.json': about, ...files } = {}, parts] = [await readFile(folder, job) ?? {}, await readFile(folder, state)]
  if (!about || !parts) return null
  return { id, summary, about: JSON.parse(await about.text()), files, parts }
}

async function readFile(folder, { file: name, parts }) {
  const file = await getFile(folder, name)
  const found = {}
  let at = 0
  for (const { name: part, size, checksum } of parts) {
    found[part] = file.slice(at, at += size)
    let sum = NO_BYTES
    try {
      for await (const bytes of piecesOf(found[part])) sum = checksumOf(bytes, sum)
    } catch {
      return null
    }
    if (sum !== checksum) return null
  }
  return found
}

/** Writes { name: Blob, bytes or function } one after the other and tells where everything is. */
async function writeFile(folder, name, parts) {
  const handle = await (await folder.getFileHandle(name, { create: true })).createSyncAccessHandle()
  try {
    await handle.truncate(0)
    const listed = []
    let at = 0
    for (const [part, content] of Object.entries(parts)) {
      const start = at
      let checksum = NO_BYTES
      const write = bytes => {
        if (handle.write(bytes, { at }) < bytes.length) throw new DOMException('There is no room.', 'QuotaExceededError')
        checksum = checksumOf(bytes, checksum)
        at += bytes.length
      }
      if (typeof content === 'function') await content(write)
      else for await (const bytes of piecesOf(content)) write(bytes)
      listed.push({ name: part, size: at - start, checksum })
    }
    await handle.flush()
    return { file: name, size: at, parts: listed }
  } finally {
    await handle.close()
  }
}

const NO_BYTES = 0x811c9dc5

/** FNV-1a, after `sum` of what came before: the browser's SHA-256 wants all bytes at once. A changed byte always changes it. */
export function checksumOf(bytes, sum = NO_BYTES) {
  for (let at = 0; at < bytes.length; at++) sum = Math.imul(sum ^ bytes[at], 0x01000193)
  return sum
}

/** Another run's checkpoint and files, and what a crash may have left. */
async function dropOthers(folder, { slot, before, job }) {
  if (!before) await writeFile(folder, manifestName(1 - slot), {})
  const stray = (await namesIn(folder)).filter(name => name.startsWith('job-') && name !== job.file)
  for (const name of before ? stray : [...stray, `state-${1 - slot}`]) await remove(folder, name)
}

/** The manifests go first: what is left without one counts for nothing. */
async function clear(folder) {
  const names = await namesIn(folder)
  for (const name of names.sort((a, b) => b.startsWith('manifest') - a.startsWith('manifest'))) await folder.removeEntry(name)
}

async function namesIn(folder) {
  const names = []
  for await (const name of folder.keys()) names.push(name)
  return names
}

async function remove(folder, name) {
  await folder.removeEntry(name).catch(() => {})
}

async function getFile(folder, name) {
  try {
    return await (await folder.getFileHandle(name)).getFile()
  } catch (error) {
    if (error.name === 'NotFoundError') return null
    throw error
  }
}

// ---- the place

/** The folder of the run; null where it is not there. Throws, in words, where the browser keeps no files. */
async function openFolder({ create = false } = {}) {
  const root = await openRoot()
  try {
    return await root.getDirectoryHandle(FOLDER, { create })
  } catch (error) {
    if (error.name === 'NotFoundError') return null
    throw noPlace()
  }
}

async function openRoot() {
  try {
    if (!navigator.locks) throw noPlace()
    return await navigator.storage.getDirectory()
  } catch {
    throw noPlace()
  }
}

function noPlace() {
  const place = globalThis.process?.versions?.node ? 'Node.js has no private file system for runs' : 'This browser keeps no files for this page, as in a private window'
  return Object.assign(new Error(`${place}.\n  The run is not saved: download the model before you leave.`), { code: 'no-place' })
}

async function isHeld() {
  const { held } = await navigator.locks.query()
  return held.some(({ name }) => name === LOCK)
}

function toBytes(value) {
  return new TextEncoder().encode(JSON.stringify(value))
}

async function digest(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('')
}
