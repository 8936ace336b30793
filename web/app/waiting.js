// On the other tabs, a line that says that a run goes on, waits to be taken away, or was saved, and leads there.

import { at, say, show } from './dom.js'
import { percent } from './format.js'

const LOOK_AGAIN = 1000

export function mountWaiting(app) {
  const isElsewhere = () => at('finetune').hidden
  const look = () => {
    const words = isElsewhere() ? wordsOf(app) : ''
    show('waiting', Boolean(words))
    if (!words) return
    say('waiting-line', words)
    say('waiting-look', 'Look at it')
  }
  at('waiting-look').addEventListener('click', () => {
    app.openTab('finetune')
    at('tab-finetune').focus()
  })
  setInterval(() => isElsewhere() && look(), LOOK_AGAIN)
  return { look }
}

function wordsOf(app) {
  const run = app.run?.()
  if (run?.phase === 'training') return `${run.paused ? 'A run is paused' : 'A run goes on'} under Fine-tune${run.steps ? `, ${percent(run.step / run.steps)} done` : ''}.`
  if (run && app.isUnsaved()) return 'What your run has learnt is under Fine-tune, not downloaded yet.'
  return at('saved').hidden ? '' : 'A saved run waits under Fine-tune.'
}
