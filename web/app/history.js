// The runs of this browser: a table of them, their curves over each other, and their logs to take away. Kept are settings
// and numbers; of the data no text, only its name.

import { createChart, smoothed } from './chart.js'
import { at, make, say, show, table } from './dom.js'
import { count, decimal, duration, plural, scientific } from './format.js'
import { keptOf, METRICS, TASKS } from './tasks.js'

const KEY = 'electra-runs'
const KEPT = 40
const POINTS = 240
const COMPARED = 6

/** Mounts the list; `add(entry)` puts a run there or renews it. The log buttons of the run take `current()`, its entry. */
export function mountHistory(app, current) {
  const state = { runs: load() ?? [], chosen: new Set() }
  // Another tab may have added to the list; where the browser keeps nothing, this page's own is all there is.
  const all = () => load() ?? state.runs
  const charts = makeCharts(() => comparedOf(state))
  const draw = () => showRuns(state, charts, { change, remove })
  const change = (id, on) => {
    state.chosen[on ? 'add' : 'delete'](id)
    draw()
  }
  const keep = runs => {
    state.runs = save(runs)
    draw()
  }
  const remove = id => {
    keep(all().filter(run => run.id !== id))
    app.announce('Removed.', { urgent: true })
    at('runs-title').focus()
  }
  mountClear(() => {
    keep([])
    app.announce('All runs are removed from the list.', { urgent: true })
  })
  for (const [id, write, ending] of [['json', toJson, 'json'], ['csv', toCsv, 'csv']]) {
    at(`runs-${id}`).addEventListener('click', () => download(`electra-runs.${ending}`, write(state.runs)))
    at(`log-${id}`).addEventListener('click', () => download(`electra-${nameOf(current())}.${ending}`, write([current()])))
  }
  window.addEventListener('storage', ({ key }) => {
    if (key !== KEY) return
    state.runs = all()
    draw()
  })
  for (const { id } of state.runs.slice(0, 2)) state.chosen.add(id)
  draw()
  return {
    add(entry) {
      const others = all().filter(({ id }) => id !== entry.id)
      if (!state.runs.some(({ id }) => id === entry.id) && state.chosen.size < COMPARED) state.chosen.add(entry.id)
      keep([{ ...entry, losses: thinned(entry.losses) }, ...others].sort((a, b) => b.id.localeCompare(a.id)))
    },
  }
}

/** The button that removes all runs asks first, in its own words. */
function mountClear(clear) {
  const ask = wanted => {
    at('runs-clear').dataset.sure = wanted
    say('runs-clear', wanted ? 'Remove all for good?' : 'Remove all')
  }
  at('runs-clear').addEventListener('click', ({ target }) => {
    const sure = target.dataset.sure === 'true'
    ask(!sure)
    if (sure) clear()
  })
  at('runs-clear').addEventListener('blur', () => ask(false))
}

/**
 * What is kept of a run.
 * @param run `started` (a Date), `title`, `sample`, `link`, `settings`, `plan`, `phase`, `step`, `seconds`, `losses` as
 *   [[step, loss], ...], `evaluations` as the library gives them
 * @param info the model's, and `model`, its name
 */
export function entryOf({ started, title, sample, link, settings, plan, phase, step, seconds, losses, evaluations }, { model, device }) {
  const last = evaluations.length ? keptOf(evaluations, settings) : undefined
  // The entry says these itself.
  const numbers = { ...last, step: null, epoch: null, score: null, metrics: null }
  return {
    id: started.toISOString(), title, sample: sample ?? null, link: link ?? null, task: plan.task, phase, model,
    device: { kind: device.kind, name: device.name }, settings, train_rows: plan.train_rows, eval_rows: plan.eval_rows, step, steps: plan.steps,
    seconds: Math.round(seconds * 10) / 10, metric: last?.metric ?? null, score: last?.score ?? null,
    scores: evaluations.map(({ step, score }) => [step, score]), losses, evaluation: numbersOf(numbers),
  }
}

/** The numbers of an evaluation by name, such as "entities.micro.f1"; lists are left out, for they hold texts. */
function numbersOf(evaluation, place = '') {
  return Object.entries(evaluation).reduce((found, [name, value]) => {
    if (typeof value === 'number') return { ...found, [place + name]: value }
    return value && typeof value === 'object' && !Array.isArray(value) ? { ...found, ...numbersOf(value, `${place}${name}.`) } : found
  }, {})
}

/** At most so many points, each the mean of its neighbours. */
function thinned(points) {
  const size = Math.ceil(points.length / POINTS)
  if (size <= 1) return points
  return Array.from({ length: Math.ceil(points.length / size) }, (_, index) => {
    const some = points.slice(index * size, (index + 1) * size)
    return [some.at(-1)[0], Number((some.reduce((sum, [, value]) => sum + value, 0) / some.length).toPrecision(6))]
  })
}

// ---- keeping

/** The runs that are kept, or null where the browser keeps nothing. */
function load() {
  try {
    const runs = parsed(localStorage.getItem(KEY))
    return Array.isArray(runs) ? runs.filter(isWhole) : []
  } catch {
    return null
  }
}

function parsed(text) {
  try {
    return JSON.parse(text)
  } catch {
    return []
  }
}

/** An entry of an older page may lack what this one shows. */
function isWhole(run) {
  return run && typeof run.id === 'string' && run.task in TASKS && (run.metric === null || run.metric in METRICS)
    && [run.losses, run.scores].every(Array.isArray) && Number.isFinite(run.settings?.learningRate) && run.device
}

/** Keeps the newest runs, as many as the browser has room for; gives those it shows. */
function save(runs) {
  const kept = runs.slice(0, KEPT)
  for (let many = kept.length; many >= 0; many = Math.floor(many / 2)) {
    try {
      localStorage.setItem(KEY, JSON.stringify(kept.slice(0, many)))
      return kept.slice(0, many)
    } catch {
      // Without any room, or where the browser keeps nothing, the list lasts as long as the page.
      if (many === 0) return kept
    }
  }
}

// ---- the table

function comparedOf({ runs, chosen }) {
  const compared = runs.filter(({ id }) => chosen.has(id)).slice(0, COMPARED)
  return compared.map((run, index) => ({ ...run, letter: 'ABCDEF'[index] }))
}

function showRuns(state, charts, on) {
  show('runs', state.runs.length > 0)
  if (!state.runs.length) return
  const compared = comparedOf(state)
  const varied = variedOf(state.runs)
  const rows = state.runs.map(run => rowOf(run, { varied, mark: compared.find(({ id }) => id === run.id)?.letter, full: compared.length === COMPARED }, on))
  const head = ['Run', 'Score', 'Settings', 'Steps', 'Time', 'Device', '']
  at('runs-table').replaceChildren(table('The runs of this browser', head, rows, 'rows runs'))
  say('runs-line', compared.length ? '' : 'Choose runs to see their curves.')
  show('runs-charts', compared.length > 0)
  charts.draw(compared)
}

function rowOf(run, { varied, mark, full }, { change, remove }) {
  const { id, title, task, phase, metric, score, settings, step, steps, seconds, device } = run
  const box = make('input', { type: 'checkbox', checked: Boolean(mark), disabled: full && !mark, 'aria-label': `Compare ${title}, ${whenOf(run)}` })
  box.addEventListener('change', () => change(id, box.checked))
  const away = make('button', { type: 'button', className: 'plain', 'aria-label': `Remove ${title}, ${whenOf(run)}` }, 'Remove')
  away.addEventListener('click', () => remove(id))
  return [
    make('span', { className: 'run-name' }, box, make('span', { className: mark ? `letter series-${mark}` : 'letter', 'aria-hidden': 'true' }, mark ?? ''),
      make('span', {}, run.link ? make('a', { href: run.link, title: 'Set it up again' }, title) : title, make('small', {}, `${TASKS[task].name}, ${whenOf(run)}`))),
    metric ? make('span', {}, METRICS[metric].fine(score), make('small', {}, METRICS[metric].name)) : '–',
    settingsLine(settings, varied),
    phase === 'done' ? count(step) : `${count(step)} of ${count(steps)}`,
    duration(seconds),
    device.kind === 'cpu' ? 'CPU' : 'GPU',
    away,
  ]
}

function whenOf({ id }) {
  return new Date(id).toLocaleString('en', { dateStyle: 'medium', timeStyle: 'short' })
}

/** The usual settings, and those that are not the same in all runs. */
function settingsLine({ epochs, batchSize, learningRate, seed, ...rest }, varied) {
  const more = varied.filter(name => name in rest).map(name => `${name} ${rest[name]}`)
  return make('span', {}, `${plural(epochs, 'epoch')}, batch ${batchSize}`, make('small', {}, [`rate ${scientific(learningRate)}`, `seed ${seed}`, ...more].join(', ')))
}

function variedOf(runs) {
  const names = [...new Set(runs.flatMap(({ settings }) => Object.keys(settings)))]
  return names.filter(name => new Set(runs.map(({ settings }) => String(settings[name]))).size > 1)
}

// ---- the curves

function makeCharts(current) {
  const valueAt = (points, step) => points.findLast(([at]) => at <= step)?.[1]
  const readout = (valuesOf, write) => step => {
    const values = current().map(run => [run, valueAt(valuesOf(run), step)]).filter(([, value]) => value !== undefined)
    return values.length ? `step ${count(step)}: ${values.map(([run, value]) => `${run.letter} ${write(value, run)}`).join(', ')}` : ''
  }
  const fine = (value, { metric }) => METRICS[metric].fine(value)
  const loss = createChart(at('runs-loss'), { height: 220, output: at('runs-loss-readout'), readout: readout(smoothLosses, value => decimal(value)) })
  const score = createChart(at('runs-score'), { height: 180, output: at('runs-score-readout'), readout: readout(({ scores }) => scores, fine) })
  return {
    draw(runs) {
      const steps = Math.max(1, ...runs.map(run => run.step))
      const label = (name, last) => `${name} of ${runs.map(run => `${run.letter} ${run.title}${last(run)}`).join('; ')}`
      loss.draw({
        lines: runs.map(run => ({ name: run.letter, points: smoothLosses(run) })), steps, format: value => String(Number(value.toPrecision(3))),
        label: label('Loss by step', run => run.losses.length ? ` ends at ${decimal(smoothLosses(run).at(-1)[1], 2)}` : ''),
      })
      const scored = runs.filter(({ metric }) => metric)
      const names = [...new Set(scored.map(({ metric }) => METRICS[metric].name))]
      const low = Math.min(0, ...scored.flatMap(({ scores }) => scores.map(([, value]) => value)))
      say('runs-score-key', names.join(', ') || 'Score')
      score.draw({
        lines: scored.map(run => ({ name: run.letter, points: run.scores })), steps, top: 1, low: low < 0 ? -1 : 0,
        format: scored.some(({ metric }) => metric === 'pearson') ? value => decimal(value, 2) : METRICS.accuracy.short,
        label: label('Held-out score by step', run => run.metric ? ` ends at ${METRICS[run.metric].fine(run.score)}` : ''),
      })
    },
  }
}

function smoothLosses({ losses }) {
  return smoothed(losses)
}

// ---- logs

function toJson(runs) {
  return new Blob([JSON.stringify(runs, null, 1)], { type: 'application/json' })
}

/** A line for each step that says something: one table for all runs. */
function toCsv(runs) {
  const lines = runs.flatMap(run => {
    const at = new Map()
    const note = (step, name, value) => at.set(step, { ...at.get(step), [name]: value })
    for (const [step, loss] of run.losses) note(step, 'loss', loss)
    for (const [step, score] of run.scores) note(step, 'score', score)
    const steps = [...at].sort(([a], [b]) => a - b)
    return steps.map(([step, { loss, score }]) => [run.id, run.title, run.task, run.metric, step, loss, score])
  })
  const cell = value => /[",\n\r]/.test(value ?? '') ? `"${String(value).replace(/"/g, '""')}"` : String(value ?? '')
  const all = [['run', 'title', 'task', 'metric', 'step', 'loss', 'score'], ...lines]
  return new Blob([`${all.map(line => line.map(cell).join(',')).join('\n')}\n`], { type: 'text/csv' })
}

function nameOf({ title }) {
  return title.replace(/\.\w+$/, '').replace(/\W+/g, '-')
}

function download(name, blob) {
  const address = URL.createObjectURL(blob)
  make('a', { href: address, download: name }).click()
  setTimeout(() => URL.revokeObjectURL(address), 60000)
}
