// What this machine offers: WebGPU and the CPU, each with a reason in plain words.
// Runs in the worker, because a browser may offer WebGPU to a page and not to its workers.

const VENDORS = { amd: 'AMD', apple: 'Apple', arm: 'Arm', google: 'Google', intel: 'Intel', nvidia: 'NVIDIA', qualcomm: 'Qualcomm' }
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|software/i
const LIMITS = [
  'maxBufferSize', 'maxStorageBufferBindingSize', 'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup',
]
// The smallest module that uses a SIMD instruction: (func (drop (v128.const ...))).
const SIMD_MODULE = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 23, 1, 21, 0,
  253, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 26, 11,
])

/** Both devices and the one that `auto` takes. */
export async function describeMachine() {
  const [webgpu, cpu] = [await describeWebgpu(), describeCpu()]
  const auto = webgpu.usable && !webgpu.software ? 'webgpu' : 'cpu'
  return { webgpu, cpu, auto, reason: auto === 'webgpu' ? webgpu.reason : `${webgpu.reason} So the CPU does the work.` }
}

/** The device for a wish of 'auto', 'webgpu' or 'cpu'; a wish that cannot be met is an error that says why. */
export async function chooseDevice(wish) {
  const machine = await describeMachine()
  if (wish === 'auto') return { ...machine[machine.auto], reason: machine.reason }
  if (wish === 'cpu') return { ...machine.cpu, reason: 'You chose the CPU.' }
  if (wish !== 'webgpu') throw new Error(`device: "${wish}" is not a device\n  Choose auto, webgpu or cpu.`)
  if (!machine.webgpu.usable) throw new Error(`WebGPU: ${machine.webgpu.reason}\n  ${machine.webgpu.remedy}`)
  return { ...machine.webgpu, reason: `You chose WebGPU. ${machine.webgpu.reason}` }
}

function describeCpu() {
  const usable = WebAssembly.validate(SIMD_MODULE)
  const reason = usable
    ? 'WebAssembly with SIMD on one core; it works everywhere.'
    : 'This browser is too old: its WebAssembly has no SIMD.'
  return { kind: 'cpu', name: 'CPU (WebAssembly)', usable, software: false, reason, remedy: 'Use a browser of 2023 or later.', limits: {}, features: [] }
}

async function describeWebgpu() {
  if (!self.isSecureContext) {
    return missing('the page was not opened over https or from localhost, and browsers offer WebGPU nowhere else.', 'Open it over https, or from localhost.')
  }
  if (!self.navigator.gpu && self.process?.versions?.node) {
    return missing('Node.js offers none.', 'Choose the CPU, or use a browser or the command-line program.')
  }
  if (!self.navigator.gpu) {
    return missing('this browser offers none here.', 'Chrome and Edge from 113, Safari from 26 and Firefox from 141 have it on most machines.')
  }
  const adapter = await requestAdapter()
  if (!adapter) {
    return missing('the browser found no GPU that it may use.', 'Check that hardware acceleration is on in the browser’s settings.')
  }
  return describeAdapter(adapter)
}

async function requestAdapter() {
  try {
    return await self.navigator.gpu.requestAdapter({ powerPreference: 'high-performance' })
  } catch {
    return null
  }
}

function describeAdapter(adapter) {
  const info = adapter.info ?? {}
  const name = adapterName(info)
  const software = Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter)
    || SOFTWARE.test([info.vendor, info.architecture, info.device, info.description].join(' '))
  const limits = Object.fromEntries(LIMITS.map(limit => [limit, adapter.limits[limit]]))
  const features = [...adapter.features].sort()
  const found = { kind: 'webgpu', name, software, limits, features }
  // Without this feature the engine's GPU runtime stops as soon as it opens a queue.
  if (!adapter.features.has('timestamp-query')) {
    return { ...found, ...missing(`${name} does not offer “timestamp-query”, which the engine needs.`, 'A newer browser or driver may offer it.'), ...found }
  }
  const reason = software
    ? `The only WebGPU here is ${name}, a GPU imitated in software, which is slower than the CPU engine.`
    : `WebGPU is here, on ${name}.`
  return { ...found, usable: true, reason, remedy: '' }
}

function adapterName(info) {
  const words = [VENDORS[info.vendor] ?? info.vendor, info.architecture, info.device].filter(Boolean)
  return info.description || words.join(' ') || 'a GPU that the browser does not name'
}

function missing(why, remedy) {
  const reason = `There is no WebGPU to use: ${why}`
  return { kind: 'webgpu', name: 'WebGPU', usable: false, software: false, reason, remedy, limits: {}, features: [] }
}
