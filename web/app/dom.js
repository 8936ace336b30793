// Making and finding elements. Text from files only ever becomes text nodes, never markup.

/** An element with properties (or attributes, where there is no such property) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...children.filter(child => child !== null && child !== undefined))
  return element
}

/** The element with this id. */
export function at(id) {
  return document.getElementById(id)
}

/** Sets text only when it changes, so that nothing is announced or laid out again for nothing. */
export function say(id, text) {
  const element = at(id)
  if (element.textContent !== text) element.textContent = text
}

export function show(id, visible = true) {
  at(id).hidden = !visible
}

/** Shows what went wrong and what to do in the notice `id`; no error hides it. */
export function complain(id, error) {
  const notice = at(id)
  notice.hidden = !error
  notice.replaceChildren(...(error ? [make('strong', {}, error.message), error.remedy ? ` ${error.remedy}` : ''] : []))
}

/** Asks before something is lost; resolves with true for `yes`. What keeps things as they are has the focus. */
export function ask({ title, text, yes, no = 'Keep it' }) {
  const dialog = at('ask-dialog')
  for (const [id, words] of Object.entries({ 'ask-title': title, 'ask-text': text, 'ask-yes': yes, 'ask-no': no })) say(id, words)
  dialog.showModal()
  at('ask-no').focus()
  return new Promise(resolve => {
    const end = answer => {
      dialog.onclose = null
      dialog.close()
      resolve(answer)
    }
    at('ask-yes').onclick = () => end(true)
    at('ask-no').onclick = () => end(false)
    dialog.onclose = () => end(false)
  })
}

/** A button that copies what `text` gives, and says so. */
export function copyOf(text, button) {
  const name = button.textContent
  button.addEventListener('click', async () => {
    const done = await navigator.clipboard.writeText(text()).then(() => 'Copied', () => 'Not allowed here')
    button.textContent = done
    setTimeout(() => { button.textContent = name }, 2000)
  })
  return button
}

/** Brings an element to the top of the view. */
export function bringUp(id) {
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches
  at(id).scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' })
}

/** Calls `work` when nothing was asked for during `milliseconds`. */
export function settled(milliseconds, work) {
  let timer = 0
  return () => {
    clearTimeout(timer)
    timer = setTimeout(work, milliseconds)
  }
}

/** A table with a caption for screen readers; the first cell of a row is its header. */
export function table(caption, head, rows, className = '') {
  const cell = (content, index) => index === 0 ? make('th', { scope: 'row', title: typeof content === 'string' ? content : '' }, content) : make('td', {}, content)
  return make('table', { className },
    make('caption', { className: 'hidden' }, caption),
    make('thead', {}, make('tr', {}, ...head.map(name => make('th', { scope: 'col' }, name)))),
    make('tbody', {}, ...rows.map(row => make('tr', {}, ...row.map(cell)))))
}
