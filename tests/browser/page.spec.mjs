// The page as a person uses it: by mouse and keyboard, with own files, good and bad, wide and narrow.

import { join } from 'node:path'
import { CSV, dropFile, expect, expectAccessible, fillSettings, openPage, ROWS, SHOTS, test } from './site.mjs'

test('detect shows a number for each word', async ({ page, site }) => {
  await openPage(page, site, '#detect')
  await page.fill('#sentence', 'The cat sat on the 🐱 mat.')
  await expect(page.locator('#tokens')).toContainText('mat')
  const numbers = await page.locator('.token .p').allTextContents()
  expect(numbers.length).toBeGreaterThan(6)
  for (const number of numbers) expect(number).toMatch(/^\d+%$/)
  const text = (await page.locator('.piece').allTextContents()).join('')
  expect(text).toBe('Thecatsatonthe🐱mat.')
  await page.fill('#sentence', '')
  await expect(page.locator('.token')).toHaveCount(0)
})

test('a dropped CSV: look, train, pause, stop, continue, try, take away, load again', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await dropFile(page, 'kinds.csv', `${CSV}\n,food\nno label,\n`)
  await expect(page.locator('#columns')).toBeVisible()
  await expect(page.locator('#label-counts')).toContainText('space')
  await expect(page.locator('#skipped-title')).toHaveText('2 rows cannot be used')
  await page.click('#skipped-title')
  await expect(page.locator('#skipped-rows')).toContainText('Row 66')
  await expect(page.locator('#train')).toBeEnabled()
  await fillSettings(page, { 'epochs': 12, 'batch-size': 8, 'max-length': 8, 'learning-rate': '2e-3', 'eval-fraction': 25, 'dropout': 0 })
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Training')
  await expect(page.locator('#score-before')).toHaveText(/\d+%/)
  await expect(page.locator('#stat-step')).toContainText(' of 72')

  await page.click('#pause')
  await expect(page.locator('#run-state')).toHaveText('Paused')
  await page.fill('#try-text', 'cheese bread soup apple')
  await expect(page.locator('#try-result li').first()).toBeVisible()
  await page.click('#pause')
  await expect(page.locator('#run-state')).toHaveText('Training')
  await page.click('#stop')
  await expect(page.locator('#run-state')).toHaveText('Stopped')
  await expect(page.locator('#download')).toBeVisible()
  await page.click('#continue')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })

  await expect(page.locator('#score-after')).toHaveText(/(8|9|10)\d%/)
  await expect(page.locator('#try-result .first')).toContainText('food')
  await expect(page.locator('#confusion')).toContainText('space')
  await expect(page.locator('#worst-rows')).toContainText(/the model says|Everything that is held out is right/)
  await page.click('#numbers summary')
  await expect(page.locator('#numbers-table tbody tr').first()).toBeVisible()
  await expectAccessible(page)

  await page.click('#model-button')
  await expect(page.locator('#model-warning')).toBeVisible()
  await page.click('#model-cancel')
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
  expect(download.suggestedFilename()).toBe('electra-kinds.zip')
  const zip = test.info().outputPath('electra-kinds.zip')
  await download.saveAs(zip)

  await page.click('#model-button')
  await expect(page.locator('#model-warning'), 'it is in the download').toBeHidden()
  await page.check('#source-files')
  await page.setInputFiles('#model-files', zip)
  await page.click('#model-load')
  await expect(page.locator('#model-line')).toContainText('electra-kinds.zip')
  await expect(page.locator('#try-hint')).toContainText('food, space')
  await page.fill('#try-text', 'rocket moon star star')
  await expect(page.locator('#try-result .first')).toContainText('space')
})

test.describe('on WebGPU', () => {
  test('a bundled set is trained on the chosen device', async ({ page, site }) => {
    test.setTimeout(900_000)
    await openPage(page, site, '#finetune')
    await page.click('#model-button')
    await page.check('#device-webgpu')
    await page.click('#model-load')
    await expect(page.locator('#model-button')).toHaveAttribute('data-state', 'webgpu', { timeout: 300_000 })
    await page.click('#samples .card >> nth=0')
    await expect(page.locator('#columns')).toBeVisible()
    await fillSettings(page, { 'epochs': 1, 'batch-size': 8, 'max-length': 16, 'eval-fraction': 1 })
    await page.click('#train')
    await expect(page.locator('#stat-step')).toContainText(/^[3-9] of|^\d\d+ of/, { timeout: 600_000 })
    await page.click('#stop')
    await expect(page.locator('#run-state')).toHaveText('Stopped', { timeout: 120_000 })
    await page.click('#tab-about')
    await expect(page.locator('#facts')).toContainText('passed; one training step differs')
  })
})

test('bad files are refused in words, and a good one works afterwards', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  const bad = {
    'empty.csv': ['', /empty/],
    'one.csv': ['text,label\na b c,same\nd e f,same\n', /label/],
    'damaged.csv': [Buffer.from([116, 101, 120, 116, 44, 108, 97, 98, 101, 108, 10, 0xc3, 0xa9, 0xe8, 44, 97, 10]), /UTF-8/],
    'page.json': ['{"text": ', /page\.json|JSON|row|line/],
    'markup.csv': ['text,label,<img src=x onerror=alert(1)>\n<b>a</b>,<i>x</i>,1\n<i>b</i>,y,2\n', null],
  }
  for (const [name, [content, message]] of Object.entries(bad)) {
    await dropFile(page, name, content)
    if (!message) continue
    await expect(page.locator('#data-problem')).toContainText(message)
    await expect(page.locator('#train')).toBeDisabled()
  }
  await expect(page.locator('#label-column')).toContainText('<img')
  await expect(page.locator('#label-counts')).toContainText('<i>x</i>')
  expect(await page.locator('#columns img, #columns i').count()).toBe(0)
  await page.click('#paste-open')
  await page.fill('#paste-text', CSV)
  await page.click('#paste-use')
  await expect(page.locator('#columns-title')).toHaveText(`Classification: ${ROWS.length} rows, 2 labels`)
  await expect(page.locator('#train')).toBeEnabled()
  await fillSettings(page, { epochs: -1 })
  await page.click('#train')
  await expect(page.locator('#train-problem')).toContainText('Epochs')
})

test('a run that is refused does not take the last one away', async ({ page, site }) => {
  await openPage(page, site, '#finetune')
  await page.click('#paste-open')
  await page.fill('#paste-text', CSV)
  await page.click('#paste-use')
  await fillSettings(page, { 'epochs': 1, 'batch-size': 8, 'max-length': 8 })
  await page.click('#train')
  await expect(page.locator('#run-state')).toHaveText('Finished', { timeout: 120_000 })
  const shown = () => Promise.all(['#run-title', '#run-summary', '#score-before', '#score-after', '#stat-step', '#results'].map(id => page.locator(id).innerText()))
  const before = await shown()
  await page.click('#again')
  await page.setInputFiles('#eval-file', { name: 'other.csv', mimeType: 'text/csv', buffer: Buffer.from('one,two\n1,2\n') })
  await page.click('#train')
  await expect(page.locator('#train-problem')).toContainText('other.csv')
  await expect(page.locator('#train-problem')).toContainText('The last run is as it was.')
  await page.click('#back-to-run')
  await expect(page.locator('#run-state')).toHaveText('Finished')
  expect(await shown()).toEqual(before)
})

test('keyboard: tabs, and out of the dialog', async ({ page, site }) => {
  await openPage(page, site)
  await page.focus('#tab-finetune')
  await page.keyboard.press('ArrowRight')
  await expect(page.locator('#tab-detect')).toBeFocused()
  await expect(page.locator('#detect')).toBeVisible()
  await page.keyboard.press('End')
  await expect(page.locator('#about')).toBeVisible()
  await page.keyboard.press('ArrowRight')
  await expect(page.locator('#finetune')).toBeVisible()
  await page.focus('#model-button')
  await page.keyboard.press('Enter')
  await expect(page.locator('#model-dialog')).toBeVisible()
  await page.keyboard.press('Escape')
  await expect(page.locator('#model-dialog')).toBeHidden()
  await expect(page.locator('#model-button')).toBeFocused()
})

for (const [name, viewport, colorScheme] of [['wide-light', { width: 1280, height: 900 }, 'light'], ['phone-dark', { width: 390, height: 844 }, 'dark']]) {
  test.describe(name, () => {
    test.use({ viewport, colorScheme, contextOptions: { reducedMotion: 'reduce' } })

    test('every tab is accessible and fits; screenshots', async ({ page, site }) => {
      await openPage(page, site, '#detect')
      await expect(page.locator('.token').first()).toBeVisible()
      for (const tab of ['detect', 'finetune', 'about']) {
        await page.click(`#tab-${tab}`)
        if (tab === 'finetune') {
          await page.click('#samples .card >> nth=0')
          await expect(page.locator('#columns')).toBeVisible()
        }
        await expectAccessible(page)
        expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 'no sideways scrolling').toBeLessThanOrEqual(0)
        await page.screenshot({ path: join(SHOTS, `${name}-${tab}.png`), fullPage: true })
      }
      await page.click('#model-button')
      await expectAccessible(page)
    })
  })
}
