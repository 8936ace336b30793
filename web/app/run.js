// A training run on the page: live numbers and charts, pause and stop, the results.

import { smoothed } from './chart.js'
import { at, complain, make, say, show } from './dom.js'
import { count, decimal, duration, milliseconds, percent, rate } from './format.js'
import { entryOf, mountHistory } from './history.js'
import { sectionsOf } from './results.js'
import { createCurves } from './results/curves.js'
import { cardOf, folderOf, showTake } from './take.js'
import { doubtsOf, judgementOf, keptOf, meaningOf, METRICS, planLine, quoted, TASKS } from './tasks.js'
import { mountTry } from './tryit.js'
import { inWords } from './words.js'

const REDRAW = 250
const SPEAK_EVERY = 10000
const RECENT = 30
const GPU_READ_EVERY = 4
/** Tests of a run, where nothing else is asked for. */
const TESTS = 8

/** @param page `enter()` shows the run, `leave()` the settings */
export function mountRun(app, page) {
  const curves = createCurves(at('curves'))
  let state = null
  // While a run is being started: the one that is shown again if it cannot be.
  let before = null
  let lock = null
  const box = mountTry(app, () => state)
  const entry = () => entryOf({ ...state.job, ...state }, { model: state.job.model, device: app.model.info.device })
  const runs = mountHistory(app, entry)

  app.run = () => state
  app.isTraining = () => state?.phase === 'training'
  /** Would something be lost that was learnt? */
  app.isUnsaved = () => Boolean(state?.step && !state.isTaken && state.phase !== 'failed')

  /** @param job title, file, sample, link, model, started, reading, inspection, settings, and the data: table, held */
  async function start(job) {
    open(job)
    // Reading a loss back stalls a GPU, in Firefox for a tenth of a second.
    const readEvery = app.model.info.device.kind === 'webgpu' ? GPU_READ_EVERY : 1
    const evalTimes = job.settings.evalEvery ? undefined : TESTS
    await go({ train: job.table, eval: job.held, readEvery, evalTimes, ...job.reading, ...job.settings, checkpointEvery: 'auto', title: job.title, about: aboutOf(job) })
  }

  /** Goes on with the saved run that was loaded with its model. */
  async function goOn({ title, about, plan, losses, evaluations, steps, seconds }) {
    open({ title, ...about, started: new Date(about.started) })
    Object.assign(state, { plan, step: steps, steps: plan.steps, seconds, losses: losses.map(({ step, loss }) => [step, loss]) })
    showPlan(state)
    for (const evaluation of evaluations) noteEvaluation(state, evaluation)
    at('pause').focus({ preventScroll: true })
    await go({ resume: true })
  }

  function open(job) {
    before = state
    state = newState(job)
    page.enter()
    showStart(job)
    box.open(job)
  }

  async function go(options) {
    const mine = state
    mine.stop = new AbortController()
    mine.phase = 'training'
    mine.isStopping = false
    // A test that came with a stop is none of the run's own.
    mine.evaluations = mine.evaluations.filter(({ extra }) => !extra)
    showPhase(mine)
    lock ??= holdScreen()
    const tick = setInterval(() => draw(mine, curves), REDRAW)
    const enough = box.follow()
    let end
    mine.ended = new Promise(resolve => { end = resolve })
    try {
      const result = await app.model.finetune({
        ...options,
        signal: mine.stop.signal,
        onPlan: plan => {
          before = null
          showPlan(Object.assign(mine, { plan }))
        },
        onStep: step => note(mine, step),
        onEvaluating: progress => { mine.evaluating = progress },
        onEvaluation: found => {
          noteEvaluation(mine, found)
          box.guess()
        },
        onCheckpoint: () => { mine.isSaved = true },
        onUnsaved: problem => complain('unsaved', problem),
      })
      mine.phase = result.stopped ? 'stopped' : 'done'
      mine.seconds = result.seconds
    } catch (error) {
      mine.phase = mine.plan ? 'failed' : 'refused'
      if (state === mine) fail(error, mine)
    } finally {
      clearInterval(tick)
      enough()
      end()
      lock?.()
      lock = null
    }
    if (state === mine) finish(mine)
  }

  function fail(error, mine) {
    if (error.fatal) return app.lost(error)
    if (mine.phase === 'refused') refuse(error)
    else complain('run-problem', inWords(error))
  }

  /** Nothing has changed: the model is the one before, and so is its run. */
  function refuse(error) {
    const { message, remedy } = inWords(error)
    state = before
    page.leave()
    show('back-to-run', Boolean(state))
    complain('train-problem', { message, remedy: state ? `${remedy} The last run is as it was.`.trim() : remedy })
    at('train-problem').focus()
    if (state) reopen(state)
    else box.ready(app.model)
  }

  function reopen(mine) {
    showStart(mine.job)
    box.open(mine.job)
    showPlan(mine)
    if (mine.evaluations.length) showScore(mine)
    showKept(mine)
    finishView(mine)
  }

  function finish(mine) {
    finishView(mine)
    // Where the button that was pressed has gone, the next one is at hand.
    if (document.activeElement === document.body) at(mine.phase === 'done' ? 'download' : 'continue').focus({ preventScroll: true })
    app.title('')
    app.announce(closingWords(mine), { urgent: true })
    if (mine.phase === 'stopped' || mine.phase === 'done') runs.add(entry())
  }

  function finishView(mine) {
    draw(mine, curves)
    showPhase(mine)
    if (mine.evaluations.length) showScore(mine)
    showKept(mine)
    showTake(mine)
    box.guess()
  }

  mountControls(app, () => state, { go, leave: page.leave })
  setInterval(() => state?.phase === 'training' && speak(app, state), SPEAK_EVERY)
  // The browser then asks whether to leave: what was learnt is only in this page, unless it is saved.
  window.addEventListener('beforeunload', event => app.isUnsaved() && !(state.isSaved && state.phase !== 'done') && event.preventDefault())

  return {
    start,
    /** Stops the run, and resolves when it has stopped. */
    async halt() {
      state?.stop.abort()
      await state?.ended
    },
    ready(model) {
      if (model.run) goOn(model.run)
      else box.ready(model)
    },
    gone() {
      state = before = null
      app.title('')
      show('results', false)
      show('take', false)
      box.gone()
    },
  }
}

function newState(job) {
  return {
    job, plan: null, phase: 'training', paused: false, isStopping: false, isSaved: false, isTaken: false, step: 0, steps: 0, seconds: 0,
    losses: [], evaluations: [], recent: [], evaluating: null,
  }
}

/** What the page needs of a job to go on with it after it was loaded again; the library keeps the data and the options. */
function aboutOf({ file, sample, licence, link, model, started, reading, inspection, settings }) {
  return { file, sample, licence, link, model, started: started.toISOString(), reading, inspection, settings }
}

function note(state, { step, steps, losses, tokens, milliseconds: time }) {
  Object.assign(state, { step, steps, evaluating: null })
  state.isTaken = false
  state.losses.push(...losses.map(({ step: at, loss }) => [at, loss]))
  state.recent.push({ tokens, time })
  if (state.recent.length > RECENT) state.recent.shift()
}

function noteEvaluation(state, evaluation) {
  state.evaluating = null
  state.evaluations.push(evaluation)
  showScore(state)
  if (evaluation.step > 0) showResults(evaluation)
}

/** When nothing is learnt at the moment, the results are those of the weights that are kept. */
function showKept({ evaluations, job }) {
  if (evaluations.length && evaluations.at(-1).step > 0) showResults(keptOf(evaluations, job.settings))
}

function showResults(evaluation) {
  at('results').replaceChildren(...sectionsOf(evaluation))
  show('results')
}

// ---- the run in words and numbers

function showStart(job) {
  say('run-title', job.title)
  say('run-summary', 'Reading the rows…')
  for (const id of ['score-baseline', 'score-before', 'score-after', 'stat-step', 'stat-loss', 'stat-rate', 'stat-time', 'stat-left']) say(id, '–')
  for (const id of ['score-guess-bar', 'score-before-bar', 'score-after-bar']) at(id).style.setProperty('--share', 0)
  show('score-guess', false)
  say('score-judgement', 'It reads the rows, and is tested before it learns…')
  at('score-judgement').dataset.bad = 'false'
  show('doubts', false)
  show('take', false)
  say('score-line', `Measured on ${TASKS[job.reading.task].row}s that it does not learn from.`)
  complain('run-problem', null)
  complain('unsaved', null)
  show('results', false)
}

function showPlan({ plan }) {
  say('run-summary', planLine(plan))
  at('run-summary').title = plan.notes?.join(' ') ?? ''
  const doubts = doubtsOf(plan)
  show('doubts', doubts.length > 0)
  at('doubts').replaceChildren(...doubts.map(words => make('li', {}, words)))
}

/** What a run scores by now, beside what it scored before and what needs no learning. */
function showScore({ evaluations, plan, job, phase }) {
  const [first] = evaluations
  const isOver = phase !== 'training'
  const latest = isOver ? keptOf(evaluations, job.settings) : evaluations.at(-1)
  const { short } = METRICS[latest.metric]
  const line = (id, score) => {
    say(`score-${id}`, short(score))
    at(`score-${id === 'baseline' ? 'guess' : id}-bar`).style.setProperty('--share', Math.min(Math.max(score, 0), 1).toFixed(4))
  }
  const { baseline } = plan
  const isComparable = baseline?.metric === latest.metric
  show('score-guess', isComparable)
  if (isComparable) {
    say('score-guess-word', quoted(baseline.answer))
    line('baseline', baseline.score)
  }
  line('before', first.score)
  const hasLearnt = evaluations.length > 1 || latest.step > 0
  if (hasLearnt) line('after', latest.score)
  const { words, isBad } = hasLearnt ? judgementOf(latest, plan, isOver) : { words: 'That is before it has learnt anything.', isBad: false }
  const best = hasLearnt && isOver && latest.step < evaluations.at(-1).step ? ` Kept is the best test, that at step ${count(latest.step)}.` : ''
  say('score-judgement', words + best)
  at('score-judgement').dataset.bad = String(isBad)
  say('score-line', meaningOf(latest, plan))
}

function showPhase(state) {
  const { phase, paused, isStopping } = state
  const active = phase === 'training'
  const words = { training: isStopping ? 'Stopping, after a last test' : paused ? 'Paused' : 'Training', stopped: 'Stopped', done: 'Finished', failed: 'Ended by an error' }
  say('run-state', words[phase] ?? '')
  at('run-state').dataset.phase = paused && active ? 'paused' : phase
  say('score-word', phase === 'done' ? 'after' : 'now')
  say('try-hint', active ? 'It answers during training, too; watch the answer change.' : 'The model that was trained answers: try it on something of your own.')
  at('pause').disabled = at('stop').disabled = active && isStopping
  say('pause', paused ? 'Resume' : 'Pause')
  show('pause', active)
  show('stop', active)
  show('continue', phase === 'stopped')
  show('download', phase === 'stopped' || phase === 'done')
  show('again', !active)
  show('log', !active && state.step > 0)
}

function draw(state, curves) {
  if (state.phase === 'refused') return
  const { step, steps, losses, recent } = state
  if (steps) Object.assign(at('run-bar'), { max: steps, value: step })
  curves.draw({ ...state, steps: steps || state.plan?.steps || 1 })
  // Before the first step it is the test that moves.
  if (!step && state.evaluating) Object.assign(at('run-bar'), { max: state.evaluating.total, value: state.evaluating.done })
  if (!step) return say('stat-step', state.evaluating ? `testing ${state.evaluating.done} of ${state.evaluating.total}` : '–')
  const time = recent.reduce((sum, one) => sum + one.time, 0)
  const tokens = recent.reduce((sum, one) => sum + one.tokens, 0)
  say('stat-step', state.evaluating ? `${count(step)}, testing` : `${count(step)} of ${count(steps)}`)
  say('stat-loss', losses.length ? decimal(smoothed(losses).at(-1)[1]) : '–')
  say('stat-rate', time ? rate(tokens / time * 1000) : '–')
  say('stat-time', time ? milliseconds(time / recent.length) : '–')
  say('stat-left', time && state.phase === 'training' ? duration(secondsLeft(state)) : '–')
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

function closingWords({ phase, evaluations, job }) {
  if (phase === 'done') {
    const { metric, score } = keptOf(evaluations, job.settings)
    const { name, fine } = METRICS[metric]
    return `Training is finished. ${name} went from ${fine(evaluations[0].score)} to ${fine(score)}.`
  }
  return phase === 'stopped' ? 'Training is stopped. It can be continued.' : 'Training ended by an error.'
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
    state.isStopping = true
    showPhase(state)
    state.stop.abort()
  })
  at('continue').addEventListener('click', () => {
    at('pause').hidden = false
    at('pause').focus({ preventScroll: true })
    go({ resume: true })
  })
  at('again').addEventListener('click', leave)
  at('download').addEventListener('click', () => download(app, current()))
}

async function download(app, state) {
  const button = at('download')
  button.disabled = true
  say('download', 'Packing…')
  try {
    const address = URL.createObjectURL(await app.model.export({ readme: cardOf(state) }))
    state.isTaken = true
    make('a', { href: address, download: `${folderOf(state.job)}.zip` }).click()
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
