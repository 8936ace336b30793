// The model and the device: loads the bundled model on arrival, another one from the dialog, and says how it goes.

import { Electra } from '../electra.js'
import { at, complain, say, show } from './dom.js'
import { bytes } from './format.js'

/** The models that come with the page. */
const BUNDLED = {
  bundled: { source: 'models/electra-tiny/', name: 'ELECTRA-Tiny' },
  generator: { source: 'models/electra-tiny-generator/', name: 'ELECTRA-Tiny generator' },
}
const STAGES = {
  'self-test': 'Checking the GPU: one training step on it and on the CPU…',
  start: 'Starting the engine…',
  model: 'Reading the model…',
}
const SERVICE_WORKER_PATIENCE = 3000

/** @param on `ready(model)` and `gone()`, called as models come and go */
export function mountModel(app, on) {
  const state = { model: null, loading: null, wish: { ...BUNDLED.bundled, device: 'auto' } }
  const load = wish => loadModel(app, state, wish, on)
  mountDialog(app, state, load)
  at('problem-again').addEventListener('click', () => load(state.wish))
  at('problem-other').addEventListener('click', () => at('model-button').click())
  app.openModel = files => load({ source: files, device: state.wish.device, name: files[0].name })
  app.switchTo = kind => {
    at(`source-${kind}`).checked = true
    if (!app.hasRun()) return load({ ...BUNDLED[kind], device: state.wish.device })
    // What a run has learnt is not thrown away by one click.
    showFields(at('model-form'))
    at('model-button').click()
  }
  app.openSaved = ({ about, wish }) => load({ saved: true, device: wish, name: about?.model ?? 'Your model' })
  app.lost = error => {
    drop(state, on)
    showProblem(error)
  }
  keepForOffline().then(() => load(state.wish))
}

async function loadModel(app, state, wish, on) {
  state.loading?.abort()
  const loading = state.loading = new AbortController()
  drop(state, on)
  state.wish = wish
  if (!wish.saved) app.saved.look()
  showProblem(null)
  showProgress('Fetching the engine and the model…')
  try {
    const options = {
      device: wish.device,
      signal: loading.signal,
      onProgress: progress => showProgress(STAGES[progress.stage] ?? downloadLine(progress), progress),
    }
    const model = await (wish.saved ? Electra.resume(options) : Electra.load(wish.source, options))
    state.model = model
    app.modelName = wish.name
    showModel(wish, model.info)
    app.announce(`Model ready: ${wish.name}, on ${model.info.device.name}.`, { urgent: true })
    on.ready(model)
  } catch (error) {
    if (loading.signal.aborted) return
    // A saved run that cannot be loaded can still be discarded, and a model can be loaded without it.
    if (wish.saved) {
      state.wish = { ...BUNDLED.bundled, device: 'auto' }
      app.saved.look()
    }
    showProblem(error)
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
  say('loading-line', line)
  const bar = at('loading-bar')
  if (total) Object.assign(bar, { max: total, value: loaded })
  else bar.removeAttribute('value')
  setChip('loading', total ? `Loading ${Math.floor(100 * loaded / total)}%` : 'Loading…')
}

function showModel(wish, info) {
  setChip(info.device.kind, `${wish.name} · ${info.device.kind === 'webgpu' ? 'GPU' : 'CPU'}`)
}

function showProblem(error) {
  show('problem', Boolean(error))
  if (!error) return
  say('problem-message', error.message)
  say('problem-remedy', error.remedy ?? '')
  setChip('problem', 'No model')
}

function setChip(state, line) {
  at('model-button').dataset.state = state
  say('model-line', line)
}

// ---- the dialog

function mountDialog(app, state, load) {
  const dialog = at('model-dialog')
  const form = at('model-form')
  at('model-button').addEventListener('click', () => {
    complain('model-problem', null)
    show('model-warning', app.hasRun?.() ?? false)
    dialog.showModal()
    describeDevices()
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

function showFields(form) {
  show('files-field', form.elements.source.value === 'files')
  show('hub-field', form.elements.source.value === 'hub')
}

function readWish(form) {
  const device = form.elements.device.value
  const kind = form.elements.source.value
  if (kind in BUNDLED) return { ...BUNDLED[kind], device }
  if (kind === 'files') {
    const files = [...at('model-files').files]
    if (!files.length) throw new Error('Choose the files first.')
    return { source: files, device, name: files.length === 1 ? files[0].name : 'Your model' }
  }
  const [repo, revision = 'main'] = at('hub-name').value.trim().replace(/^https:\/\/huggingface\.co\//, '').split('@')
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(repo)) throw new Error('Write the repository’s name, such as google/electra-small-discriminator.')
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
