// Wires the page: the tabs, the model that all of them share, and the line for screen readers.

import { mountAbout } from './about.js'
import { mountAddress, tabOf } from './address.js'
import { mountDetect } from './detect.js'
import { at, say } from './dom.js'
import { mountFill } from './fill.js'
import { mountFinetune } from './finetune.js'
import { mountModel } from './model.js'
import { mountSaved } from './saved.js'
import { mountSent } from './sent.js'
import { mountWaiting } from './waiting.js'

const QUIET = 4000

/** What the tabs share: the model (null while there is none) and a voice. */
const app = {
  model: null,
  announce: createVoice(),
  title: text => { document.title = text ? `${text} · electra` : 'electra' },
}

const parts = [mountDetect(app), mountFill(app), mountFinetune(app), mountAbout(app)]
app.saved = mountSaved(app)
const waiting = mountWaiting(app)
mountTabs(mountAddress(app))
mountSent()
mountModel(app, {
  ready: model => {
    app.model = model
    for (const part of parts) part.ready?.(model)
  },
  gone: () => {
    app.model = null
    for (const part of parts) part.gone?.()
  },
})

/** Says things to screen readers; what is not urgent at most every few seconds, the newest only. */
function createVoice() {
  let last = 0
  let later = 0
  const speak = text => {
    last = performance.now()
    clearTimeout(later)
    say('status', text)
  }
  return (text, { urgent = false } = {}) => {
    const wait = last + QUIET - performance.now()
    if (urgent || wait <= 0) return speak(text)
    clearTimeout(later)
    later = setTimeout(() => speak(text), wait)
  }
}

/** Tabs as the ARIA authoring practices describe them; the address, which `addressOf` gives, keeps the tab. */
function mountTabs(addressOf) {
  const tabs = [...document.querySelectorAll('[role=tab]')]
  const select = tab => {
    for (const other of tabs) {
      const chosen = other === tab
      other.setAttribute('aria-selected', String(chosen))
      other.tabIndex = chosen ? 0 : -1
      at(other.getAttribute('aria-controls')).hidden = !chosen
    }
    history.replaceState(null, '', addressOf(tab.getAttribute('aria-controls')))
    waiting.look()
    app.opened?.()
  }
  app.openTab = name => {
    const tab = tabs.find(tab => tab.getAttribute('aria-controls') === name)
    if (tab.getAttribute('aria-selected') !== 'true') select(tab)
  }
  const byAddress = () => tabs.find(tab => tab.getAttribute('aria-controls') === tabOf(location.hash))
  for (const tab of tabs) tab.addEventListener('click', () => select(tab))
  tabs[0].parentElement.addEventListener('keydown', event => {
    const next = nextTab(tabs, event.key)
    if (!next) return
    event.preventDefault()
    select(next)
    next.focus()
  })
  window.addEventListener('hashchange', () => byAddress() && select(byAddress()))
  if (byAddress()) select(byAddress())
}

function nextTab(tabs, key) {
  const now = tabs.indexOf(document.activeElement)
  const steps = { ArrowRight: now + 1, ArrowLeft: now - 1 + tabs.length, Home: 0, End: tabs.length - 1 }
  return key in steps ? tabs[steps[key] % tabs.length] : null
}
