// The set-up of a run in the address, so that a link repeats it: #finetune?set=topic&epochs=2&seed=3 names the bundled set
// and what differs from the page's own settings. After the # nothing is sent to a server.

import { at, make, settled } from './dom.js'
import { listSamples } from './samples.js'
import { SETTINGS, valueProblem } from './settings.js'
import { TASKS } from './tasks.js'

const PATIENCE = 300
const TAB = 'finetune'
const READING = ['task', 'textColumn', 'pairColumn', 'labelColumn', 'labelColumns', 'tagColumn']

/** The tab that an address names. */
export function tabOf(hash) {
  return hash.slice(1).split('?')[0]
}

/** Keeps the address as the form is, and the form as the address is. Gives the address of a tab. */
export function mountAddress(app) {
  // What has been read from the address must be in the form before the form is written to it.
  let reading = null
  const write = settled(PATIENCE, () => {
    if (!reading && tabOf(location.hash) === TAB) history.replaceState(null, '', current(app))
  })
  const open = async () => {
    if (!location.hash.includes('?')) return
    const mine = reading = follow(app, location.hash)
    await mine
    if (reading !== mine) return
    reading = null
    write()
  }
  app.remember = write
  window.addEventListener('hashchange', open)
  open()
  return tab => tab !== TAB ? `#${tab}` : reading ? location.hash : current(app)
}

/** The address of what is set up now. */
function current(app) {
  const { sample, file, reading } = app.setup.get()
  const words = new URLSearchParams()
  if (sample) words.set('set', sample.id)
  if (file) words.set('file', file)
  const settings = differing(fieldValues(), firstSettings(sample))
  for (const [name, value] of Object.entries({ ...(sample && differingReading(sample, reading)), ...settings })) {
    for (const one of [value].flat()) words.append(name, written(one))
  }
  return words.size ? `#${TAB}?${words}` : `#${TAB}`
}

function differing(settings, first) {
  return Object.fromEntries(Object.entries(settings).filter(([name, value]) => value !== first[name]))
}

/** The task and columns, where the bundled set does not say the same itself. */
function differingReading({ task, text, pair, label }, reading) {
  const own = { task, textColumn: text ?? undefined, pairColumn: pair ?? undefined, labelColumn: label ?? undefined }
  // Only tables have columns to choose.
  const names = reading.textColumn ? READING : ['task']
  const same = names.every(name => String(own[name]) === String(reading[name]))
  return same ? {} : Object.fromEntries(READING.filter(name => reading[name] !== undefined).map(name => [name, reading[name]]))
}

// ---- reading a link

/** Sets up what a link says; what cannot be is left as it is, and said. */
async function follow(app, hash) {
  const words = new URLSearchParams(hash.split('?')[1])
  const { problems, ...setup } = readWords(words)
  const samples = await allSamples()
  const sample = samples.find(({ id }) => id === setup.sample)
  if (setup.sample && !sample && samples.length) problems.push(`There is no bundled set “${setup.sample}”.`)
  await app.setup.set({ ...setup, sample: sample?.id, settings: { ...firstSettings(sample), ...setup.settings }, own: Object.keys(setup.settings) })
  showProblems(problems)
}

function readWords(words) {
  const setup = { sample: null, file: null, reading: {}, settings: {}, problems: [] }
  for (const name of new Set(words.keys())) {
    const value = words.get(name)
    const problem = name === 'set' ? void (setup.sample = value)
      : name === 'file' ? void (setup.file = value)
        : name === 'labelColumns' ? void (setup.reading[name] = words.getAll(name))
          : READING.includes(name) ? readReading(setup, name, value)
            : name in SETTINGS ? readSetting(setup, name, value)
              : `“${name}” is no setting.`
    if (problem) setup.problems.push(problem)
  }
  if (!Object.keys(setup.reading).length) delete setup.reading
  return setup
}

function readReading({ reading }, name, value) {
  if (name === 'task' && !(value in TASKS)) return `The task cannot be “${value}”: it is one of ${Object.keys(TASKS).join(', ')}.`
  reading[name] = value
}

function readSetting({ settings }, name, text) {
  const setting = SETTINGS[name]
  const value = parsed(setting, text)
  const problem = problemOf(setting, value, text)
  if (problem) return `${labelOf(setting)} cannot be “${text}”: ${problem}.`
  settings[name] = value
}

function parsed({ kind }, text) {
  if (kind === 'yes') return text === 'yes'
  if (kind === 'word') return text
  return text.trim() === '' ? undefined : Number(text)
}

function problemOf(setting, value, text) {
  const { kind, field } = setting
  if (kind === 'yes') return ['yes', 'no'].includes(text) ? '' : 'it is yes or no'
  if (kind !== 'word') return valueProblem(setting, kind === 'percent' ? value * 100 : value)
  const choices = Array.from(at(field).options, option => option.value)
  return choices.includes(value) ? '' : `it is one of ${choices.join(', ')}`
}

function labelOf({ field }) {
  return at(field).labels[0].textContent
}

async function allSamples() {
  const lists = await Promise.all(Object.keys(TASKS).map(task => listSamples(task).catch(() => [])))
  return lists.flat()
}

function showProblems(problems) {
  const notice = at('link-problem')
  notice.hidden = !problems.length
  notice.replaceChildren(...(problems.length ? [make('strong', {}, 'Not all of this link could be used.'), ` ${problems.join(' ')} The rest is set up as it says.`] : []))
}

// ---- the form

/** The settings of the page as it comes, or as a bundled set wants them. */
function firstSettings(sample) {
  const own = Object.keys(SETTINGS).filter(name => sample?.[name] !== undefined)
  const page = values(field => field.type === 'checkbox' ? field.defaultChecked : field.options ? Array.from(field.options).find(option => option.defaultSelected)?.value ?? field.options[0].value : field.defaultValue)
  return { ...page, ...Object.fromEntries(own.map(name => [name, sample[name]])) }
}

/** The settings in the form that are shown and good. */
function fieldValues() {
  const all = values(field => field.type === 'checkbox' ? field.checked : field.value)
  const good = ([name, value]) => {
    const setting = SETTINGS[name]
    const { field, kind } = setting
    if (at(field).closest('p').hidden) return false
    return kind === 'yes' || kind === 'word' || value === undefined || !valueProblem(setting, kind === 'percent' ? value * 100 : value)
  }
  return Object.fromEntries(Object.entries(all).filter(good))
}

/** The values of all fields as the library takes them; `of` gives what stands in a field. */
function values(of) {
  return Object.fromEntries(Object.entries(SETTINGS).map(([name, { field, kind }]) => {
    const raw = of(at(field))
    if (kind === 'yes' || kind === 'word') return [name, raw]
    const text = raw.trim().replace(',', '.')
    const number = Number(text)
    return [name, text === '' ? undefined : kind === 'percent' ? number / 100 : number]
  }))
}

function written(value) {
  return value === true ? 'yes' : value === false ? 'no' : String(value ?? '')
}
