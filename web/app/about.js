// The About tab: what this machine offers, which device does the work and why, and the model in numbers.

import { at, make } from './dom.js'
import { count, plural } from './format.js'
import { TASKS } from './tasks.js'

const LIMIT_NAMES = {
  maxBufferSize: 'largest buffer',
  maxStorageBufferBindingSize: 'largest binding',
  maxStorageBuffersPerShaderStage: 'storage buffers a stage',
  maxComputeWorkgroupStorageSize: 'workgroup memory',
  maxComputeInvocationsPerWorkgroup: 'invocations a workgroup',
}

export function mountAbout() {
  showFacts([['Model', 'none is loaded yet']])
  return {
    ready: model => showFacts(describe(model.info)),
    gone: () => showFacts([['Model', 'none is loaded']]),
  }
}

function describe(info) {
  const { device, config } = info
  return [
    ['Device', device.name],
    ['Why this one', device.reason],
    ['Self-test', selfTest(device)],
    ['Limits', limits(device)],
    ['Model', `${info.architecture}${info.untrained ? ' (untrained)' : ''}`],
    ['Size', `${count(info.parameters)} parameters in ${plural(config.num_hidden_layers, 'layer')} of width ${config.hidden_size}, ${plural(config.num_attention_heads, 'head')} each`],
    ['Reads', `up to ${plural(info.max_seq_length, 'token')} of a vocabulary of ${count(config.vocab_size)}`],
    ['Task', info.task && TASKS[info.task].name],
    ['Labels', info.labels?.join(', ')],
    ['Notes', info.notes.join(' ')],
  ].filter(([, value]) => value)
}

function selfTest({ kind, self_test: found }) {
  if (kind === 'cpu') return 'not needed on the CPU'
  if (!found) return ''
  return `passed; one training step differs from the CPU’s by ${found.loss_error.toExponential(1)} in the loss, ${found.weight_error.toExponential(1)} in the weights`
}

function limits({ limits }) {
  return Object.entries(limits).map(([name, value]) => `${LIMIT_NAMES[name] ?? name} ${size(name, value)}`).join(', ')
}

function size(name, value) {
  if (!/Size$/.test(name)) return count(value)
  return value >= 2 ** 20 ? `${count(Math.round(value / 2 ** 20))} MiB` : `${count(Math.round(value / 2 ** 10))} KiB`
}

function showFacts(facts) {
  at('facts').replaceChildren(...facts.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value))))
}
