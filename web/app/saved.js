// The run that this browser has saved: a card on the Fine-tune tab that offers to go on with it.

import { Electra } from '../electra.js'
import { at, make } from './dom.js'
import { count } from './format.js'

const LOOK_AGAIN = 4000
const UNITS = [['day', 86400], ['hour', 3600], ['minute', 60]]
const AGO = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })

/** A card: `look` shows it where there is a run to go on with, `hide` takes it away. `app.openSaved(saved)` loads the run. */
export function mountSaved(app) {
  let later = 0
  let asked = 0
  const hide = () => {
    clearTimeout(later)
    asked++
    at('saved').hidden = true
  }
  const look = async () => {
    hide()
    const mine = asked
    const found = await Electra.savedRun().catch(error => ({ error }))
    if (!found || mine !== asked || app.isTraining()) return
    // Where the page was only just loaded again, it is the run of before that is still letting go.
    if (found.active) return void (later = setTimeout(look, LOOK_AGAIN))
    show(found.error ? describeBroken(found.error) : describe(found), found.error ? [discard()] : [goOn(found), discard()])
  }
  const goOn = found => make('button', { type: 'button', className: 'primary', id: 'saved-continue', onclick: () => {
    hide()
    app.openSaved(found)
  } }, 'Continue')
  const discard = () => make('button', { type: 'button', id: 'saved-discard', onclick: async ({ target }) => {
    target.disabled = true
    try {
      await Electra.forgetRun()
      hide()
      at('setup').querySelector('h1').focus({ preventScroll: true })
    } catch (error) {
      show(describeBroken(error), [discard()])
    }
  } }, 'Discard')
  return { look, hide }
}

function show(words, buttons) {
  at('saved').hidden = false
  at('saved').replaceChildren(make('p', {}, ...words), make('p', { className: 'buttons' }, ...buttons))
}

function describe({ title, step, steps, time, device }) {
  return [make('strong', {}, `Continue “${title}” at step ${count(step)} of ${count(steps)}`),
    make('span', { className: 'hint' }, `Saved ${ago(time)}, on ${device.name}. It goes on exactly there; a new run takes its place.`)]
}

function describeBroken({ message, remedy }) {
  return [make('strong', {}, message), make('span', { className: 'hint' }, remedy)]
}

function ago(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? []
  return unit ? AGO.format(-Math.round(seconds / size), unit) : 'just now'
}
