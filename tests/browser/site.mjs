// What all specs share: the built site on a local server, a page that must stay free of errors, and the
// hooks that make a machine look different from what it is. The product has no switches for tests.

import { existsSync, readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import { test as base, expect } from '@playwright/test'
import { startServer } from './server.mjs'

export { expect }
export { CSV, ROWS } from '../rows.mjs'
export const DIST = resolve(process.env.DIST ?? join(import.meta.dirname, '../../dist'))
export const SHOTS = join(import.meta.dirname, '../test-results/screenshots')

export const test = base.extend({
  // A pattern for console errors that a test provokes on purpose.
  tolerated: [null, { option: true }],
  // Most tests are about no model in particular: for a visitor who saves data the page stays with the smallest.
  savesData: [true, { option: true }],
  site: [async ({}, use) => {
    const server = await startServer(DIST)
    await use(server.address)
    await server.close()
  }, { scope: 'worker' }],
  page: async ({ page, tolerated, savesData }, use) => {
    if (savesData) await page.context().addInitScript(() => Object.defineProperty(NetworkInformation.prototype, 'saveData', { get: () => true }))
    const errors = []
    page.on('console', message => message.type() === 'error' && errors.push(message.text()))
    page.on('pageerror', error => errors.push(String(error)))
    await use(page)
    expect(errors.filter(text => !tolerated?.test(text)), 'errors on the console').toEqual([])
  },
  // An empty page beside the library, as another site would have it.
  blank: async ({ page, site }, use) => use(await openBlank(page, site)),
})

/** An empty page of the site. */
export async function openBlank(page, site) {
  await page.route(`${site}blank.html`, route => route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>blank</title>' }))
  await page.goto(`${site}blank.html`)
  return page
}

/** Puts code in front of the worker's own. */
export async function patchWorker(page, code) {
  await page.route('**/worker.js', async route => {
    const response = await route.fetch()
    await route.fulfill({ response, body: `${code}\n${await response.text()}` })
  })
}

/** A vocabulary of as many tokens as the networks of the parity tests have. */
export const VOCABULARY = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', '.', ...Array.from({ length: 63 }, (_, index) => `word${index}`)].join('\n')

/** Serves a small random generator in a folder of the site: that of the parity tests. */
export async function serveGenerator(page, folder) {
  const files = fixture('model_masked_lm_same_size')
  await page.route(`${folder}*`, route => {
    const name = basename(new URL(route.request().url()).pathname)
    if (name === 'vocab.txt') return route.fulfill({ body: VOCABULARY })
    return existsSync(join(files, name)) ? route.fulfill({ path: join(files, name) }) : route.fulfill({ status: 404 })
  })
}

/** A folder of the parity tests. */
export const fixture = name => join(import.meta.dirname, '../fixtures/parity', name)

/**
 * Plays the hub; gives the list of the files that it is asked for.
 * @param repositories { 'owner/name': [folder, what it has beside or instead of the folder's files; null: it is not there] }
 */
export async function serveHub(page, repositories) {
  const asked = []
  await page.route('https://huggingface.co/**', route => {
    const [, owner, repo, , , name] = new URL(route.request().url()).pathname.split('/')
    asked.push(name)
    const headers = { 'access-control-allow-origin': '*' }
    const [folder, own] = repositories[`${owner}/${repo}`] ?? ['', {}]
    const body = name in own ? own[name] : existsSync(join(folder, name)) ? readFileSync(join(folder, name)) : null
    return route.fulfill(body === null ? { status: 404, headers } : { headers, body })
  })
  return asked
}

/** Puts a module in the place of the engine's; it can import the real one from './electra_wasm.js?real'. */
export async function replaceEngine(page, code) {
  await page.route(/electra_wasm\.js$/, route => route.fulfill({ contentType: 'text/javascript', body: code }))
}

/** An engine whose memory can be looked at: `self.engineMemory` in the worker. */
export const TELLING_ENGINE = `
  import init, { Session } from './electra_wasm.js?real'
  export default async options => { self.engineMemory = (await init(options)).memory }
  export { Session }`

export const NO_WEBGPU = 'Object.defineProperty(WorkerNavigator.prototype, "gpu", { get: () => undefined })'

/** Makes the software GPU look like one of metal, so that 'auto' takes it. */
export const REAL_GPU = `
  for (const [name, value] of Object.entries({ isFallbackAdapter: false, vendor: 'acme', architecture: 'one', device: '', description: '' }))
    Object.defineProperty(GPUAdapterInfo.prototype, name, { get: () => value })`

/** Opens the page and waits until its model is there. */
export async function openPage(page, site, hash = '') {
  await page.goto(site + hash)
  await expect(page.locator('#model-button')).toHaveAttribute('data-state', /cpu|webgpu|problem/)
}

/** Drops a file on the page, as from a folder. */
export async function dropFile(page, name, content) {
  const transfer = await page.evaluateHandle(({ name, bytes }) => {
    const transfer = new DataTransfer()
    transfer.items.add(new File([new Uint8Array(bytes)], name))
    return transfer
  }, { name, bytes: [...Buffer.from(content)] })
  await page.dispatchEvent('#drop', 'drop', { dataTransfer: transfer })
}

/** Nothing on the page is a serious obstacle by the rules of axe. */
export async function expectAccessible(page) {
  const { violations } = await new AxeBuilder({ page }).analyze()
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.target).join(', ')}`)).toEqual([])
}

/** Writes into the fields of the form by their ids. */
export async function fillSettings(page, settings) {
  await page.locator('#advanced').evaluate(details => { details.open = true })
  for (const [id, value] of Object.entries(settings)) await page.fill(`#${id}`, String(value))
}
