// The npm package in other people's pages: built with Vite and with webpack, from a CDN, and by its types.

import { spawnSync } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build, createServer } from 'vite'
import webpack from 'webpack'
import { MODELS, newProject, PACKAGE } from '../package/install.mjs'
import { startServer } from './server.mjs'
import { expect, ROWS, test } from './site.mjs'

const BUNDLERS = {
  Vite: root => build({ root, base: './', logLevel: 'warn', configFile: false }),
  webpack: async root => {
    const config = { mode: 'production', context: root, entry: './main.js', output: { path: join(root, 'dist') }, performance: { hints: false } }
    const stats = await promisify(webpack)(config)
    expect(stats.toString({ all: false, errors: true, warnings: true })).toBe('')
    cpSync(join(root, 'index.html'), join(root, 'dist/index.html'))
  },
}

for (const [name, bundle] of Object.entries(BUNDLERS)) {
  test(`a page built with ${name} trains for two steps`, async ({ page }) => {
    const root = newProject('index.html', 'main.js')
    await bundle(root)
    await onServer(join(root, 'dist'), address => trainTwoSteps(page, address, { device: 'cpu' }))
  })
}

test('Vite’s dev server serves the package as it is', async ({ page }) => {
  const root = newProject('index.html', 'main.js')
  cpSync(join(MODELS, 'electra-tiny'), join(root, 'public/models/electra-tiny'), { recursive: true })
  const server = await createServer({ root, configFile: false, logLevel: 'warn', server: { host: '127.0.0.1', port: 0 } })
  await server.listen()
  await trainTwoSteps(page, server.resolvedUrls.local[0], { device: 'cpu' })
  await server.close()
})

test('a page takes the package, or parts of it, from another origin', async ({ page }) => {
  const root = newProject('index.html', 'main.js')
  const html = readFileSync(join(root, 'index.html'), 'utf8')
  const takeFrom = library => {
    const imports = `<script type="importmap">${JSON.stringify({ imports: { electra: library } })}</script>`
    writeFileSync(join(root, 'index.html'), html.replace('<script', `${imports}<script`))
  }
  const asked = []
  page.on('request', request => asked.push(request.url()))
  const cdn = await startServer(PACKAGE, 0, { 'access-control-allow-origin': '*' })
  const [workerUrl, wasmUrl, plainUrl] = ['worker.js', 'wasm/electra_wasm_relaxed_bg.wasm', 'wasm/electra_wasm_bg.wasm'].map(name => cdn.address + name)
  await onServer(root, async address => {
    const own = () => asked.filter(url => url.startsWith(address)).map(url => url.slice(address.length)).filter(name => !name.startsWith('models/'))

    takeFrom(`${cdn.address}electra.js`)
    await trainTwoSteps(page, address, { device: 'cpu' })
    expect(own()).toEqual(['', 'main.js'])
    expect(asked).toEqual(expect.arrayContaining([workerUrl, wasmUrl]))

    asked.length = 0
    takeFrom('./node_modules/electra/electra.js')
    await trainTwoSteps(page, address, { device: 'cpu', workerUrl, wasmUrl: plainUrl })
    expect(own()).toContain('node_modules/electra/electra.js')
    expect(own().filter(name => /worker|wasm/.test(name))).toEqual([])
    expect(asked).toEqual(expect.arrayContaining([workerUrl, plainUrl]))
  })
  await cdn.close()
})

test('the types hold for what a user writes', () => {
  const root = newProject('types.ts')
  for (const resolution of [['--module', 'esnext', '--moduleResolution', 'bundler'], ['--module', 'nodenext']]) {
    const tsc = join(import.meta.dirname, '../node_modules/.bin/tsc')
    const options = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2023,dom,dom.iterable', '--types', '', ...resolution, 'types.ts']
    expect(spawnSync(tsc, options, { cwd: root, encoding: 'utf8' }).stdout).toBe('')
  }
})

/** Serves a page with the bundled model beside it. */
async function onServer(folder, visit) {
  cpSync(join(MODELS, 'electra-tiny'), join(folder, 'models/electra-tiny'), { recursive: true })
  const server = await startServer(folder)
  await visit(server.address)
  await server.close()
}

async function trainTwoSteps(page, address, options) {
  await page.goto(address)
  await page.waitForFunction('globalThis.finetune')
  const { device, steps, losses, answer } = await page.evaluate(({ rows, options }) => globalThis.finetune(rows, options), { rows: ROWS, options })
  expect(device).toBe('cpu')
  expect(steps).toEqual([1, 2])
  expect(losses).toHaveLength(2)
  for (const loss of losses) expect(loss).toBeGreaterThan(0)
  expect(answer).toEqual([{ label: expect.stringMatching(/food|space/), score: expect.any(Number) }])
}
