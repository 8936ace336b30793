// A training run on the page: live numbers and charts, pause and stop, the try-it box, and the results.

import { bar, createChart, smoothed } from './chart.js'
import { at, complain, make, say, settled, show, table } from './dom.js'
import { count, decimal, duration, milliseconds, percent, percentFine, plural, rate, scientific } from './format.js'
import { showResults } from './results.js'

const REDRAW = 250
const SPEAK_EVERY = 10000
const TRY_AGAIN = 3000
const PATIENCE = 300
const SHOWN_GUESSES = 6
const TABLE_ROWS = 20
const RECENT = 30
const GPU_READ_EVERY = 4

/** @param page `enter()` shows the run, `leave()` the settings */
export function mountRun(app, page) {
  const charts = makeCharts(() => state)
  let state = null
  let lock = null

  app.hasRun = () => Boolean(state)

  async function start(job) {
    state = newState(job)
    page.enter()
    showStart(job)
    // Reading a loss back stalls a GPU, in Firefox for a tenth of a second.
    const readEvery = app.model.info.device.kind === 'webgpu' ? GPU_READ_EVERY : 1
    await go({ train: job.table, eval: job.held, readEvery, ...job.settings })
  }

  async function go(options) {
    const mine = state
    mine.stop = new AbortController()
    mine.phase = 'training'
    showPhase(mine)
    lock ??= holdScreen()
    const tick = setInterval(() => draw(mine, charts), REDRAW)
    const again = setInterval(() => guess(app, mine), TRY_AGAIN)
    try {
      const result = await app.model.finetune({
        ...options,
        signal: mine.stop.signal,
        onPlan: plan => { showPlan(Object.assign(mine, { plan })) },
        onStep: step => note(mine, step),
        onEvaluating: progress => { mine.evaluating = progress },
        onEvaluation: evaluation => { noteEvaluation(app, mine, evaluation) },
      })
      mine.phase = result.stopped ? 'stopped' : 'done'
    } catch (error) {
      mine.phase = mine.plan ? 'failed' : 'refused'
      if (state === mine) fail(error, mine)
    } finally {
      clearInterval(tick)
      clearInterval(again)
      lock?.()
      lock = null
    }
    if (state === mine) finish(mine)
  }

  function fail(error, mine) {
    if (error.fatal) return app.lost(error)
    if (mine.phase === 'refused') {
      page.leave()
      show('back-to-run', false)
      complain('train-problem', error)
      state = null
      return
    }
    complain('run-problem', error)
  }

  function finish(mine) {
    draw(mine, charts)
    showPhase(mine)
    app.title('')
    app.announce(closingWords(mine), { urgent: true })
    guess(app, mine)
  }

  mountControls(app, () => state, { go, leave: page.leave })
  mountTry(app, () => state)
  setInterval(() => state?.phase === 'training' && speak(app, state), SPEAK_EVERY)
  // The browser then asks whether to leave; what was learnt is only in this page.
  window.addEventListener('beforeunload', event => state?.phase === 'training' && event.preventDefault())

  return {
    start,
    ready(model) {
      show('try', model.info.can_predict)
      say('try-hint', model.info.can_predict ? `This model tells apart ${model.info.labels?.join(', ') ?? 'its labels'}.` : '')
      show('try-pair-field', model.info.can_predict)
    },
    gone() {
      state = null
      app.title('')
      for (const id of ['try', 'results']) show(id, false)
      at('try-result').replaceChildren()
    },
  }
}

function newState(job) {
  return { job, plan: null, phase: 'training', paused: false, step: 0, steps: 0, losses: [], evaluations: [], recent: [], evaluating: null }
}

function note(state, { step, steps, losses, tokens, milliseconds: time }) {
  Object.assign(state, { step, steps, evaluating: null })
  state.losses.push(...losses.map(({ step: at, loss }) => [at, loss]))
  state.recent.push({ tokens, time })
  if (state.recent.length > RECENT) state.recent.shift()
}

function noteEvaluation(app, state, { step, evaluation }) {
  state.evaluating = null
  state.evaluations.push({ step, ...evaluation })
  showScore(state)
  if (step > 0) showResults(evaluation)
  guess(app, state)
}

// ---- the run in words and numbers

function showStart(job) {
  say('run-title', job.title)
  say('run-summary', 'Reading the rows…')
  for (const id of ['score-before', 'score-after', 'stat-step', 'stat-loss', 'stat-rate', 'stat-time', 'stat-left']) say(id, '–')
  say('score-line', 'Accuracy on rows that it does not learn from.')
  complain('run-problem', null)
  show('results', false)
  show('try')
  show('try-pair-field', Boolean(job.pair))
  say('try-hint', 'It answers during training, too; watch the answer change.')
  at('try-result').replaceChildren()
}

function showPlan({ plan }) {
  const held = plan.eval_source === 'file' ? `${plural(plan.eval_rows, 'row')} of your own file to test it` : `${count(plan.eval_rows)} held out`
  say('run-summary', `${plural(plan.train_rows, 'row')} to learn from, ${held}. ${plural(plan.epochs, 'epoch')} of ${plural(plan.steps_per_epoch, 'step')}, batch ${plan.batch_size}, learning rate ${scientific(plan.learning_rate)}, up to ${plan.max_seq_length} tokens.`
    + (plan.skipped_count ? ` ${plural(plan.skipped_count, 'row')} could not be used.` : ''))
  at('run-summary').title = plan.notes?.join(' ') ?? ''
}

function showScore({ evaluations, plan }) {
  const [first] = evaluations
  const latest = evaluations.at(-1)
  const common = plan.labels.reduce((most, label) => label.count > most.count ? label : most)
  say('score-before', percent(first.accuracy))
  if (evaluations.length > 1) say('score-after', percent(latest.accuracy))
  say('score-line', `of ${plural(latest.examples, 'row')} that it never learns from, put under the right label. Always answering “${common.label}” gives ${percent(plan.majority_accuracy)}.`)
}

function showPhase(state) {
  const { phase, paused } = state
  const active = phase === 'training'
  const words = { training: paused ? 'Paused' : 'Training', stopped: 'Stopped', done: 'Finished', failed: 'Ended by an error' }
  say('run-state', words[phase] ?? '')
  at('run-state').dataset.phase = paused && active ? 'paused' : phase
  say('score-word', phase === 'done' ? 'after' : 'now')
  say('pause', paused ? 'Resume' : 'Pause')
  show('pause', active)
  show('stop', active)
  show('continue', phase === 'stopped')
  show('download', phase === 'stopped' || phase === 'done')
  show('again', !active)
}

function draw(state, charts) {
  if (state.phase === 'refused') return
  const { step, steps, losses, recent } = state
  if (steps) Object.assign(at('run-bar'), { max: steps, value: step })
  charts.draw(state)
  if (!step) return say('stat-step', state.evaluating ? `testing ${state.evaluating.done} of ${state.evaluating.total}` : '–')
  const time = recent.reduce((sum, one) => sum + one.time, 0)
  const tokens = recent.reduce((sum, one) => sum + one.tokens, 0)
  say('stat-step', state.evaluating ? `${count(step)}, testing` : `${count(step)} of ${count(steps)}`)
  say('stat-loss', losses.length ? decimal(smoothed(losses, keepOf(losses)).at(-1)[1]) : '–')
  say('stat-rate', time ? rate(tokens / time * 1000) : '–')
  say('stat-time', milliseconds(time / recent.length))
  say('stat-left', state.phase === 'training' ? duration(secondsLeft(state)) : '–')
  if (state.phase === 'training') document.title = `${state.paused ? 'Paused' : percent(step / steps)} · electra`
}

function secondsLeft({ step, steps, recent }) {
  return (steps - step) * recent.reduce((sum, one) => sum + one.time, 0) / recent.length / 1000
}

function speak(app, state) {
  if (!state.step || state.paused) return
  const loss = state.losses.length ? `, loss ${decimal(state.losses.at(-1)[1], 2)}` : ''
  app.announce(`Step ${state.step} of ${state.steps}${loss}, ${duration(secondsLeft(state))} left.`)
}

function closingWords({ phase, evaluations }) {
  const last = evaluations.at(-1)
  if (phase === 'done') return `Training is finished. Accuracy went from ${percentFine(evaluations[0].accuracy)} to ${percentFine(last.accuracy)}.`
  return phase === 'stopped' ? 'Training is stopped. It can be continued.' : 'Training ended by an error.'
}

// ---- charts

function makeCharts(current) {
  const numbers = at('numbers')
  const loss = createChart(at('loss-chart'), { height: 220, format: value => String(Number(value.toPrecision(3))), output: at('loss-readout'), readout: step => lossAt(current(), step) })
  const accuracy = createChart(at('accuracy-chart'), { height: 150, format: percent, output: at('accuracy-readout'), readout: step => accuracyAt(current(), step) })
  numbers.addEventListener('toggle', () => current() && showNumbers(current()))
  return {
    draw(state) {
      const { losses, evaluations, plan } = state
      const steps = state.steps || plan?.steps || 1
      const smooth = smoothed(losses, keepOf(losses))
      const lastLoss = smooth.at(-1)?.[1]
      loss.draw({ raw: losses, smooth, steps, label: lastLoss === undefined ? 'Loss: no step yet' : `Loss by step: from ${decimal(losses[0][1], 2)} to ${decimal(lastLoss, 2)} at step ${losses.at(-1)[0]}` })
      const dots = evaluations.map(({ step, accuracy: value }) => [step, value])
      const baseline = plan ? { value: plan.majority_accuracy, text: 'always the commonest label' } : undefined
      accuracy.draw({ dots, steps, top: 1, baseline, label: dots.length ? `Held-out accuracy by step: from ${percent(dots[0][1])} to ${percent(dots.at(-1)[1])}` : 'Held-out accuracy: not measured yet' })
      if (numbers.open) showNumbers(state)
    },
  }
}

/** The more points there are, the longer the average looks back. */
function keepOf(losses) {
  return Math.min(0.97, 1 - 1 / Math.max(1, losses.length / 20))
}

function lossAt(state, step) {
  const found = state?.losses.findLast(([at]) => at <= step)
  return found ? `step ${count(found[0])}: ${decimal(found[1])}` : ''
}

function accuracyAt(state, step) {
  const found = state?.evaluations.findLast(({ step: at }) => at <= step)
  return found ? `step ${count(found.step)}: ${percentFine(found.accuracy)}` : ''
}

function showNumbers({ losses, evaluations }) {
  const smooth = smoothed(losses, keepOf(losses))
  const every = Math.ceil(losses.length / TABLE_ROWS) || 1
  const steps = new Map(losses.flatMap(([step, loss], index) => index % every === every - 1 || index === losses.length - 1 ? [[step, [decimal(loss), decimal(smooth[index][1])]]] : []))
  const tests = new Map(evaluations.map(one => [one.step, [percentFine(one.accuracy), decimal(one.loss)]]))
  const all = [...new Set([...steps.keys(), ...tests.keys()])].sort((a, b) => a - b)
  const rows = all.map(step => [count(step), ...(steps.get(step) ?? ['', '']), ...(tests.get(step) ?? ['', ''])])
  at('numbers-table').replaceChildren(table('Loss and accuracy by step', ['Step', 'Loss', 'smoothed', 'Accuracy, held out', 'Loss, held out'], rows, 'numeric'))
}

// ---- controls

function mountControls(app, current, { go, leave }) {
  at('pause').addEventListener('click', async () => {
    const state = current()
    state.paused = !state.paused
    await (state.paused ? app.model.pause() : app.model.resume())
    showPhase(state)
    app.announce(state.paused ? 'Paused.' : 'Training goes on.', { urgent: true })
  })
  at('stop').addEventListener('click', () => {
    const state = current()
    state.paused = false
    state.stop.abort()
  })
  at('continue').addEventListener('click', () => go({ resume: true }))
  at('again').addEventListener('click', leave)
  at('download').addEventListener('click', () => download(app, current()))
}

async function download(app, state) {
  const button = at('download')
  button.disabled = true
  say('download', 'Packing…')
  try {
    const address = URL.createObjectURL(await app.model.export())
    const name = state.job.file.replace(/\.\w+$/, '').replace(/\W+/g, '-')
    make('a', { href: address, download: `electra-${name}.zip` }).click()
    setTimeout(() => URL.revokeObjectURL(address), 60000)
  } catch (error) {
    complain('run-problem', error)
  } finally {
    button.disabled = false
    say('download', 'Download model')
  }
}

/** Keeps the screen on, and asks again whenever the tab comes back; returns how to let it go. */
function holdScreen() {
  let lock = null
  let wanted = true
  const ask = async () => {
    if (document.visibilityState !== 'visible') return
    lock = await navigator.wakeLock?.request('screen').catch(() => null)
    if (!wanted) lock?.release()
  }
  document.addEventListener('visibilitychange', ask)
  ask()
  return () => {
    wanted = false
    document.removeEventListener('visibilitychange', ask)
    lock?.release()
  }
}

// ---- try it

function mountTry(app, current) {
  const soon = settled(PATIENCE, async () => {
    const prediction = await guess(app, current())
    if (prediction) app.announce(`It says ${prediction.label}, ${percent(prediction.score)}.`)
  })
  for (const id of ['try-text', 'try-pair']) at(id).addEventListener('input', soon)
}

/** Asks the model about the text in the box and shows the answer, which it also returns. */
async function guess(app, state) {
  const { model } = app
  const input = tryInput()
  if (!model || !input.text || (!model.info.can_predict && !state?.evaluations.length)) return void at('try-result').replaceChildren()
  try {
    const [prediction] = await model.predict([input])
    if (tryInput().text !== input.text) return
    showGuess(prediction)
    return prediction
  } catch (error) {
    if (error.fatal || app.model !== model) return
    at('try-result').replaceChildren(make('p', { className: 'fineprint' }, `${error.message} ${error.remedy ?? ''}`))
  }
}

function tryInput() {
  const pair = at('try-pair-field').hidden ? '' : at('try-pair').value.trim()
  return { text: at('try-text').value.trim(), ...(pair && { text_pair: pair }) }
}

function showGuess({ scores }) {
  const sorted = Object.entries(scores).sort(([, a], [, b]) => b - a)
  const lines = sorted.slice(0, SHOWN_GUESSES).map(([label, score], index) => {
    return make('li', { className: index ? '' : 'first' },
      make('span', { className: 'name' }, label), bar(score), make('span', { className: 'value' }, percentFine(score)))
  })
  at('try-result').replaceChildren(make('ol', {}, ...lines))
}
