// One browser at a time: the machine that runs this may have two cores and only a software GPU.

import { defineConfig } from '@playwright/test'

export default defineConfig({
  testDir: '.',
  outputDir: '../test-results',
  workers: 1,
  timeout: 240_000,
  expect: { timeout: 60_000 },
  forbidOnly: Boolean(process.env.CI),
  reporter: [['list']],
  use: {
    browserName: 'chromium',
    viewport: { width: 1280, height: 900 },
    // Requests that a service worker answers cannot be rerouted; the test of being offline allows it.
    serviceWorkers: 'block',
    launchOptions: {
      executablePath: process.env.ELECTRA_CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
        '--disable-sync', '--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader',
      ],
    },
  },
})
