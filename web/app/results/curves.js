// How a run learned: loss and score by step, as charts and as a table. The page draws them during a run, a report after it.

import { createChart, smoothed } from '../chart.js'
import { make, table } from '../dom.js'
import { count, decimal, scientific } from '../format.js'
import { METRICS, quoted, TASKS } from '../tasks.js'

const TABLE_ROWS = 20

/**
 * Puts the charts and the table into a box.
 * @returns `{ draw(run) }`, where a run has `plan`, `steps`, `losses` as [[step, loss], ...], `evaluations` as the library
 *   gives them, and perhaps `others`: the scores of other trials, each [[step, score], ...]
 */
export function createCurves(box) {
  let run = null
  const loss = figure('loss', 220, step => run ? lossAt(run, step) : '')
  const score = figure('score', 150, step => run ? scoreAt(run, step) : '')
  const held = make('span', { className: 'key line-b', id: 'held-loss-key', hidden: true }, 'on what is held out')
  loss.key.after(held)
  score.key.classList.add('line-b')
  const numbers = make('div', { className: 'scroll', id: 'numbers-table', tabIndex: 0, role: 'region', 'aria-label': 'Loss and score by step' })
  const details = make('details', { id: 'numbers' }, make('summary', {}, 'The numbers as a table'), numbers)
  const showNumbers = () => run && details.open && numbers.replaceChildren(numbersTable(run))
  details.addEventListener('toggle', showNumbers)
  box.replaceChildren(loss.element, score.element, details)
  return {
    draw(all) {
      // The loss of a run that blows up is no number.
      run = { ...all, losses: all.losses.filter(([, loss]) => Number.isFinite(loss)) }
      const lossData = lossCurve(run)
      loss.key.textContent = 'Loss by step'
      held.hidden = !lossData.dots.length
      // Axes without anything between them say nothing.
      loss.element.hidden = !run.losses.length && !lossData.dots.length
      score.element.hidden = details.hidden = !run.losses.length && !run.evaluations.length
      loss.chart.draw(lossData)
      if (run.plan) {
        score.key.textContent = scoreKey(run)
        score.chart.draw(scoreCurve(run))
      }
      showNumbers()
    },
  }
}

/** One more number by step in a small chart, such as the learning rate. */
export function plainCurve(name, title, points) {
  const { element, key, chart } = figure(name, 150, step => {
    const found = points.findLast(([at]) => at <= step)
    return found ? `step ${count(found[0])}: ${written(found[1])}` : ''
  })
  key.textContent = title
  key.classList.add('line-c')
  chart.draw({ dots: [], others: [points], steps: points.at(-1)[0], format: written, label: `${title} by step: from ${written(points[0][1])} to ${written(points.at(-1)[1])}` })
  return element
}

function figure(name, height, readout) {
  const key = make('span', { className: 'key', id: `${name}-key` })
  const output = make('span', { className: 'readout', id: `${name}-readout` })
  const plot = make('div', { id: `${name}-chart` })
  const element = make('figure', { className: 'chart' }, make('figcaption', {}, make('span', { className: 'keys' }, key), output), plot)
  return { element, key, chart: createChart(plot, { height, output, readout }) }
}

function written(value) {
  const rounded = Number(value.toPrecision(3))
  return rounded !== 0 && Math.abs(rounded) < 1e-3 ? scientific(rounded) : String(rounded)
}

function lossCurve({ losses, evaluations, steps }) {
  const smooth = smoothed(losses)
  const dots = finite(evaluations, 'loss')
  const gist = losses.length ? `Loss by step: from ${decimal(losses[0][1], 2)} to ${decimal(smooth.at(-1)[1], 2)} at step ${losses.at(-1)[0]}` : 'Loss: no step yet'
  const measured = dots.length ? `; on what is held out ${decimal(dots.at(-1)[1], 2)}` : ''
  return { raw: losses, smooth, dots, steps, format: written, label: gist + measured }
}

/** What evaluations say of `key`, where it is a number: answers have no loss, for a window is not a question. */
function finite(evaluations, key) {
  return evaluations.map(one => [one.step, one[key]]).filter(([, value]) => Number.isFinite(value))
}

/** Before the first evaluation it is not known which score will be told. */
function metricOf({ evaluations }) {
  return METRICS[evaluations[0]?.metric ?? 'accuracy']
}

function scoreKey({ evaluations, plan, ...run }) {
  return evaluations.length ? `${metricOf({ evaluations, ...run }).name} on held-out ${TASKS[plan.task].row}s` : 'Score on what is held out'
}

function scoreCurve(run) {
  const { evaluations, others = [], plan, steps } = run
  const { short } = metricOf(run)
  const dots = finite(evaluations, 'score')
  const { baseline } = plan
  return {
    dots, others, steps, top: 1, format: short,
    // A correlation may be below zero.
    low: Math.floor(4 * Math.min(0, ...[dots, ...others].flat().map(([, score]) => score))) / 4,
    baseline: baseline && baseline.metric === evaluations[0]?.metric ? { value: baseline.score, text: quoted(baseline.answer) } : undefined,
    label: dots.length ? `${scoreKey(run)} by step: from ${short(dots[0][1])} to ${short(dots.at(-1)[1])}` : 'Held-out score: not measured yet',
  }
}

function lossAt({ losses }, step) {
  const found = losses.findLast(([at]) => at <= step)
  return found ? `step ${count(found[0])}: ${decimal(found[1])}` : ''
}

function scoreAt(run, step) {
  const found = run.evaluations.findLast(({ step: at }) => at <= step)
  return found ? `step ${count(found.step)}: ${metricOf(run).fine(found.score)}` : ''
}

function numbersTable({ losses, evaluations, ...run }) {
  const smooth = smoothed(losses)
  const every = Math.ceil(losses.length / TABLE_ROWS) || 1
  const steps = new Map(losses.flatMap(([step, loss], index) => index % every === every - 1 || index === losses.length - 1 ? [[step, [decimal(loss), decimal(smooth[index][1])]]] : []))
  const { name, fine } = metricOf({ evaluations, ...run })
  const tests = new Map(evaluations.map(({ step, score, loss }) => [step, [fine(score), decimal(loss)]]))
  const all = [...new Set([...steps.keys(), ...tests.keys()])].sort((a, b) => a - b)
  const rows = all.map(step => [count(step), ...(steps.get(step) ?? ['', '']), ...(tests.get(step) ?? ['', ''])])
  return table('Loss and score by step', ['Step', 'Loss', 'smoothed', `${name}, held out`, 'Loss, held out'], rows, 'numeric')
}
