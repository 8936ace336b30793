// The report of a fine-tuning run. Its data stand in the file as JSON; all else is drawn from them with the page's own modules.

import { at, make, table } from '../../web/app/dom.js'
import { count, decimal, plural } from '../../web/app/format.js'
import { sectionsOf } from '../../web/app/results.js'
import { createCurves, plainCurve } from '../../web/app/results/curves.js'
import { fineprint, labelTable, scroll, section, skippedItems, strong } from '../../web/app/results/parts.js'
import { meaningOf, METRICS, planLine, TASKS } from '../../web/app/tasks.js'

/** Labels that are counted without being asked for. */
const SHOWN_LABELS = 12

const report = JSON.parse(at('data').textContent)
const metric = METRICS[report.metric]
const keptTrial = report.trials.find(({ kept }) => kept)?.trial ?? null

document.title = metric ? `${subject()}: ${metric.name} ${metric.fine(report.score)}` : subject()
// What stands there for readers without scripts goes.
at('main').replaceChildren(...[head, training, results, data, settings].flatMap(drawn))

/** A part that cannot be drawn says so, and leaves the others as they are. */
function drawn(part) {
  try {
    return part()
  } catch (problem) {
    console.error(problem)
    return [make('p', { className: 'notice problem' }, make('strong', {}, 'A part of this report cannot be drawn.'), ` Its numbers are in report.json. (${problem.message})`)]
  }
}

function subject() {
  return TASKS[report.task]?.name ?? 'Fine-tuning'
}

// ---- what came out

function head() {
  const { settings, plan, evaluation, collapsed } = report
  return [
    make('p', { className: 'eyebrow', dir: 'auto' }, settings?.train ? `Run report: ${settings.train.split(/[\\/]/).at(-1)}` : 'Run report'),
    make('h1', {}, subject()),
    ...plan ? [make('p', { className: 'fineprint', id: 'run-summary' }, planLine(plan), keptLine())] : [],
    ...metric ? [score()] : [],
    ...collapsed ? [make('p', { className: 'notice problem' }, make('strong', {}, 'The model gives every example the same label.'), ' Lower the learning rate, train longer, or try another seed.')] : [],
    ...evaluation?.worst?.length ? [make('p', { className: 'notice' }, 'This file holds rows of your data: look through it before you pass it on.')] : [],
  ]
}

/** Which weights were kept, where they are not those of the last step. */
function keptLine() {
  const { step, plan } = report
  return Number.isFinite(step) && step !== plan.steps ? ` Kept are the weights of step ${count(step)} of ${count(plan.steps)}.` : ''
}

function score() {
  const { evaluation, plan, trials, median } = report
  const first = evaluations()[0]
  const before = first?.step === 0 ? [
    make('p', { className: 'big' }, make('span', { id: 'score-before' }, metric.short(first.score)), make('small', {}, 'before')),
    make('p', { className: 'arrow', 'aria-hidden': 'true' }, '→'),
  ] : []
  const words = [
    report.score === null && evaluation ? 'The score is not defined here: all predictions, or all true values, are equal.' : '',
    evaluation && plan ? meaningOf(evaluation, plan) : '',
    trials.length > 1 ? `The best of ${trials.length} trials, whose median is ${metric.fine(median)}.` : '',
  ]
  return make('div', { className: 'score', id: 'score' }, ...before,
    make('p', { className: 'big now' }, make('span', { id: 'score-after' }, metric.short(report.score)), make('small', {}, before.length ? 'after' : metric.name)),
    make('p', { className: 'score-line', dir: 'auto' }, words.filter(Boolean).join(' ')))
}

// ---- how it got there

/** The evaluations of the trial that was kept. */
function evaluations() {
  return scoresOf(keptTrial).map(one => ({ ...one, metric: report.metric }))
}

function scoresOf(trial) {
  return report.curves.evaluations.filter(one => one.trial === trial)
}

function training() {
  const { plan, curves, trials } = report
  const steps = Math.max(plan?.steps ?? 0, curves.loss.at(-1)?.[0] ?? 0, ...evaluations().map(({ step }) => step))
  if (!curves.loss.length && !curves.evaluations.length) return []
  const box = make('div', { id: 'curves' })
  const others = trials.filter(({ kept }) => !kept).map(({ trial }) => scoresOf(trial).filter(one => one.score !== null).map(one => [one.step, one.score]))
  createCurves(box).draw({ plan, steps, losses: curves.loss, evaluations: evaluations(), others })
  return [section('training', 'How it learned', '', box, ...small(), ...trials.length ? trialTable() : [])]
}

/** The curves that only explain a failure. */
function small() {
  const { learning_rate: rates, grad_norm: norms } = report.curves
  const known = points => points.filter(([, value]) => Number.isFinite(value))
  const figures = [['rate', 'Learning rate by step', known(rates)], ['norm', 'Gradient norm by step, before the clip', known(norms)]].filter(([, , points]) => points.length)
  if (!figures.length) return []
  return [make('details', { id: 'more-curves' }, make('summary', {}, 'Learning rate and gradient norm'), ...figures.map(figure => plainCurve(...figure)))]
}

function trialTable() {
  const { trials, median, mean, std } = report
  const name = metric?.name ?? 'Score'
  const fine = metric?.fine ?? decimal
  const note = ({ kept, collapsed }) => [kept ? 'kept' : '', collapsed ? 'one label for all' : ''].filter(Boolean).join(', ')
  const rows = trials.map(one => [String(one.trial), String(one.seed), fine(one.score), decimal(one.loss), note(one)])
  return [
    scroll('Trials', table('Trials', ['Trial', 'Seed', name, 'Loss', ''], rows, 'numeric')),
    fineprint('Median ', strong(fine(median)), ', mean ', strong(fine(mean)), ', standard deviation ', strong(fine(std)), '.'),
  ]
}

function results() {
  return report.evaluation ? sectionsOf(report.evaluation) : []
}

// ---- what it was made with

function data() {
  const { plan } = report
  const notes = plan?.notes?.map(note => fineprint(`${note.charAt(0).toUpperCase()}${note.slice(1)}`)) ?? []
  const parts = [...notes, ...labels(), ...skipped()]
  return parts.length ? [section('data-of-it', 'The data', '', ...parts)] : []
}

function labels() {
  const { plan } = report
  if (!plan?.labels?.length) return []
  const title = TASKS[plan.task].bars
  const bars = make('div', { className: 'label-bars' }, labelTable(title, plan))
  if (plan.labels.length <= SHOWN_LABELS) return [make('figure', {}, make('figcaption', {}, title), bars)]
  return [make('details', {}, make('summary', {}, `${title}, ${count(plan.labels.length)} of them`), bars)]
}

function skipped() {
  const { plan } = report
  if (!plan?.skipped_count) return []
  return [make('details', { id: 'skipped' }, make('summary', {}, `${plural(plan.skipped_count, TASKS[plan.task].row)} could not be used`),
    make('ul', { className: 'plainlist' }, ...skippedItems(plan)))]
}

function settings() {
  const { command, ...rest } = report.settings ?? {}
  const all = { ...rest, ...report.versions }
  const parts = [
    ...command ? [make('pre', { className: 'command' }, make('code', {}, command))] : [],
    ...Object.keys(all).length ? [make('details', {}, make('summary', {}, 'All settings and versions'), facts(all))] : [],
  ]
  return parts.length ? [section('settings', 'How it was made', '', ...parts)] : []
}

function facts(values) {
  const words = { true: 'yes', false: 'no', null: '–' }
  const shown = value => words[value] ?? (typeof value === 'object' ? JSON.stringify(value) : String(value))
  const pairs = Object.entries(values).map(([name, value]) => make('div', {}, make('dt', {}, spelled(name)), make('dd', { dir: 'auto' }, shown(value))))
  return make('dl', { className: 'facts' }, ...pairs)
}

/** `batchSize` and `batch_size` are "batch size". */
function spelled(name) {
  return name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`).replace(/[_-]/g, ' ')
}
