// The model and the device: loads the smallest bundled model on arrival, then the better one behind it, or another one
// from the dialog, and says how it goes. A model is there until the next one is ready: one that cannot be loaded takes nothing away.

import { Electra } from '../electra.js'
import { ask, at, complain, make, say, show } from './dom.js'
import { bytes } from './format.js'
import { countFetched } from './sent.js'
import { inWords } from './words.js'

/** What the dialog offers; `size` is what is fetched. */
const MODELS = {
  mini: {
    source: 'models/electra-mini/', name: 'ELECTRA-Mini', title: 'ELECTRA-Mini', size: '31 MB, comes with the page',
    about: 'Knows what words mean: learns from few rows, and sees what is odd in a sentence.',
  },
  tiny: {
    source: 'models/electra-tiny/', name: 'ELECTRA-Tiny', title: 'ELECTRA-Tiny', size: '3 MB, comes with the page',
    about: 'Small and quick: learns simple tasks in a minute, on any machine.',
  },
  generator: {
    source: 'models/electra-tiny-generator/', name: 'ELECTRA-Tiny generator', title: 'Tiny’s generator', size: '3 MB, comes with the page',
    about: 'Fills gaps in a sentence.',
  },
  small: {
    source: { repo: 'google/electra-small-discriminator', revision: 'main' }, name: 'ELECTRA-Small', title: 'ELECTRA-Small, of Google', size: '54 MB',
    about: 'Has read much English: finds mistakes, and learns hard tasks. Good on a laptop.',
  },
  base: {
    source: { repo: 'google/electra-base-discriminator', revision: 'main' }, name: 'ELECTRA-Base', title: 'ELECTRA-Base, of Google', size: '440 MB',
    about: 'The strongest here; it wants a GPU and patience.',
  },
  minilm: {
    source: { repo: 'sentence-transformers/all-MiniLM-L6-v2', revision: 'main' }, name: 'MiniLM-L6', title: 'MiniLM-L6', size: '91 MB',
    about: 'Knows what sentences mean: learns topics and likenesses from few rows.',
  },
  files: { title: 'From your disk', about: 'A zip that you downloaded here, or a model’s files.' },
  hub: { title: 'Any other of Hugging Face', about: 'An ELECTRA or BERT by its name; huggingface.co is asked for it.' },
}
const HUB_CACHE = 'electra-hub-1'
const STAGES = {
  'self-test': 'Checking the GPU: one training step on it and on the CPU…',
  start: 'Starting the engine…',
  model: 'Reading the model…',
}
const SERVICE_WORKER_PATIENCE = 3000

/** @param on `ready(model)` and `gone()`, called as models come and go */
export function mountModel(app, on) {
  const state = { model: null, loading: null, wish: { ...MODELS.tiny, device: 'auto' }, loaded: null }
  const load = wish => {
    state.isChosen = true
    return loadModel(app, state, wish, on)
  }
  mountDialog(app, state, load)
  at('problem-again').addEventListener('click', () => load(state.wish))
  at('problem-other').addEventListener('click', () => at('model-button').click())
  at('problem-close').addEventListener('click', () => show('problem', false))
  at('loading-cancel').addEventListener('click', () => state.loading?.abort())
  app.openModel = async files => {
    if (await mayReplace(app, files[0].name)) load({ source: files, device: state.wish.device, name: files[0].name })
  }
  app.switchTo = async kind => {
    at(`source-${kind}`).checked = true
    if (await mayReplace(app, MODELS[kind].title)) load({ ...MODELS[kind], device: state.wish.device })
  }
  app.openSaved = ({ about, wish }) => load({ saved: true, device: wish, name: about?.model ?? 'Your model' })
  app.lost = error => {
    drop(state, on)
    showProblem(app, error, state.wish)
  }
  at('take-better').addEventListener('click', () => app.switchTo('mini'))
  const better = () => isBetterDue(state) && loadBetter(app, state, on)
  app.opened = better
  keepForOffline().then(() => loadModel(app, state, state.wish, on)).then(better)
}

/**
 * The smallest model is there at once. The better one, ten times as large, follows by itself where it is quick enough: on a
 * GPU, and on a CPU to tell words. Who saves data, or trains on a CPU, asks for it; and who has chosen a model has chosen.
 */
function isBetterDue({ model, loaded, loading, isChosen }) {
  if (!model || loading || isChosen || loaded.source !== MODELS.tiny.source || navigator.connection?.saveData) return false
  return model.info.device.kind === 'webgpu' || !at('detect').hidden
}

async function loadBetter(app, state, on) {
  const { model: before, loaded } = state
  if (state.better === before) return
  state.better = before
  const wish = { ...MODELS.mini, device: loaded.device }
  const isStill = () => state.model === before && !state.loading
  const onProgress = progress => isStill() && progress.total && showModel(loaded, before.info, `, a better one at ${Math.floor(100 * progress.loaded / progress.total)}%`)
  const better = await Electra.load(wish.source, { device: wish.device, onFetch: countFetched, onProgress }).catch(() => null)
  if (better && isStill() && !app.isTraining() && !app.isUnsaved()) return take(app, state, wish, better, on)
  // What was begun goes on with what it was begun with; without a network the small one does its work.
  better?.dispose()
  if (isStill()) showModel(loaded, before.info)
}

function take(app, state, wish, model, on) {
  drop(state, on)
  Object.assign(state, { model, wish, loaded: wish })
  app.modelName = wish.name
  app.modelFolder = typeof wish.source === 'string' ? wish.source : null
  show('better', wish.source === MODELS.tiny.source)
  showModel(wish, model.info)
  app.announce(`Model ready: ${wish.name}, on ${model.info.device.name}.`, { urgent: true })
  on.ready(model)
}

/** What a run has learnt is not thrown away without a question. */
function mayReplace(app, name) {
  if (!app.isUnsaved()) return true
  return ask({ title: `Load ${name}?`, text: 'That ends your run and forgets what it learnt, which you have not downloaded.', yes: 'Load it', no: 'Keep my run' })
}

async function loadModel(app, state, wish, on) {
  state.loading?.abort()
  const loading = state.loading = new AbortController()
  state.wish = wish
  if (!wish.saved) app.saved.look()
  show('problem', false)
  showProgress('Fetching the engine and the model…')
  try {
    const options = {
      device: wish.device,
      signal: loading.signal,
      onFetch: countFetched,
      onProgress: progress => state.loading === loading && showProgress(STAGES[progress.stage] ?? downloadLine(progress), progress),
    }
    const model = await (wish.saved ? Electra.resume(options) : Electra.load(wish.source, options))
    take(app, state, wish, model, on)
  } catch (error) {
    if (state.loading !== loading) return
    // A saved run that cannot be loaded can still be discarded, and a model can be loaded without it.
    if (wish.saved) app.saved.look()
    const shown = loading.signal.aborted ? { message: 'Loading was cancelled.' } : error
    // What is there goes on; without a model the bundled one is worth another try.
    if (state.model) {
      state.wish = state.loaded
      showModel(state.loaded, state.model.info)
    } else if (wish.saved) state.wish = { ...MODELS.tiny, device: 'auto' }
    if (!loading.signal.aborted || !state.model) showProblem(app, shown, wish, state)
  } finally {
    if (state.loading === loading) {
      state.loading = null
      show('loading', false)
    }
  }
}

function drop(state, on) {
  state.model?.dispose()
  state.model = null
  on.gone()
}

function downloadLine({ loaded, total }) {
  return `Fetching the engine and the model: ${bytes(loaded)}${total ? ` of ${bytes(total)}` : ''}`
}

function showProgress(line, { loaded, total } = {}) {
  show('loading')
  show('loading-cancel')
  say('loading-line', line)
  const bar = at('loading-bar')
  if (total) Object.assign(bar, { max: total, value: loaded })
  else bar.removeAttribute('value')
  setChip('loading', total ? `Loading ${Math.floor(100 * loaded / total)}%` : 'Loading…')
}

function showModel(wish, { device }, more = '') {
  setChip(device.kind, `${wish.name} · ${device.kind === 'webgpu' ? 'GPU' : 'CPU'}${more}`, device.reason)
}

/** @param state of the model that is still there, if one is */
function showProblem(app, error, wish, { model = null, loaded = null } = {}) {
  const { message, remedy } = inWords(error)
  show('problem')
  say('problem-message', model ? `${wish.name} could not be loaded: ${message}` : message)
  say('problem-remedy', [remedy, model ? `${loaded.name} goes on working.` : ''].filter(Boolean).join(' '))
  // The same file, or a name that nobody has, fails again.
  const isHopeless = model && (Array.isArray(wish.source) || wish.source?.repo && !/fetched|broke off/.test(message))
  show('problem-again', !isHopeless)
  show('problem-close', Boolean(model))
  if (!model) setChip('problem', 'No model')
}

function setChip(state, line, reason = '') {
  at('model-button').dataset.state = state
  at('model-button').title = reason
  say('model-reason', reason)
  say('model-line', line)
}

// ---- the dialog

function mountDialog(app, state, load) {
  const dialog = at('model-dialog')
  const form = at('model-form')
  at('models').append(...Object.entries(MODELS).map(([kind, model]) => modelCard(kind, model)))
  at('model-button').addEventListener('click', () => {
    complain('model-problem', null)
    show('model-warning', app.isUnsaved())
    const kind = Object.keys(MODELS).find(kind => MODELS[kind].source && MODELS[kind].source === state.loaded?.source)
    if (kind) at(`source-${kind}`).checked = true
    showFields(form)
    dialog.showModal()
    describeDevices()
    markCached()
  })
  at('model-cancel').addEventListener('click', () => dialog.close())
  form.addEventListener('change', () => showFields(form))
  form.addEventListener('submit', event => {
    event.preventDefault()
    try {
      const wish = readWish(form)
      dialog.close()
      load(wish)
    } catch (error) {
      complain('model-problem', error)
    }
  })
}

function modelCard(kind, { title, about, size }) {
  const radio = make('input', { type: 'radio', name: 'source', id: `source-${kind}`, value: kind, checked: kind === 'mini' })
  return make('label', { className: 'card' }, radio, make('strong', {}, title), make('span', {}, about), size ? make('small', { id: `size-${kind}` }, size) : null)
}

/** Says which of the models this browser has kept already. */
async function markCached() {
  const cache = await globalThis.caches?.open(HUB_CACHE).catch(() => null)
  const kept = (await cache?.keys().catch(() => []) ?? []).map(({ url }) => url)
  for (const [kind, { source, size }] of Object.entries(MODELS)) {
    if (!source?.repo) continue
    const isThere = kept.some(url => url.includes(`/${source.repo}/`) && /\.(safetensors|bin)$/.test(url))
    say(`size-${kind}`, isThere ? `${size}, kept in this browser` : `${size} to fetch`)
  }
}

function showFields(form) {
  show('files-field', form.elements.source.value === 'files')
  show('hub-field', form.elements.source.value === 'hub')
}

function readWish(form) {
  const device = form.elements.device.value
  const kind = form.elements.source.value
  if (MODELS[kind].source) return { ...MODELS[kind], device }
  if (kind === 'files') {
    const files = [...at('model-files').files]
    if (!files.length) throw new Error('Choose the files first.')
    return { source: files, device, name: files.length === 1 ? files[0].name : 'Your model' }
  }
  const [repo, revision = 'main'] = at('hub-name').value.trim().replace(/^https:\/\/huggingface\.co\//, '').split('@')
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(repo)) throw new Error('Write the name as it stands on the site, such as google/electra-small-discriminator.')
  return { source: { repo, revision }, device, name: repo.split('/').pop() }
}

async function describeDevices() {
  const machine = await Electra.devices().catch(() => null)
  if (!machine) return
  const { webgpu, auto } = machine
  say('device-auto-hint', auto === 'webgpu' ? `here the GPU, ${webgpu.name}` : 'here the CPU')
  say('device-webgpu-hint', webgpu.usable ? webgpu.software ? 'imitated in software here: slow' : webgpu.name : webgpu.reason)
  at('device-webgpu').disabled = !webgpu.usable
}

// ---- offline

/** The service worker keeps what the page fetches; loading waits a moment for it, so that it sees everything. */
async function keepForOffline() {
  if (!navigator.serviceWorker) return
  const inCharge = new Promise(resolve => {
    if (navigator.serviceWorker.controller) resolve()
    navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true })
  })
  const tooLong = new Promise(resolve => setTimeout(resolve, SERVICE_WORKER_PATIENCE))
  try {
    const registration = await navigator.serviceWorker.register('sw.js')
    if (registration) await Promise.race([inCharge, tooLong])
  } catch {
    // A browser that allows no service worker shows the page all the same, only not offline.
  }
}
