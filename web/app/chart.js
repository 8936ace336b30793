// Small charts: a line chart in SVG (thin raw line, smoothed line, dots, a baseline, a readout under the pointer), a
// scatter plot, bars and histograms. The drawing is for the eye only; its label carries the gist and a table or words
// beside it the numbers.

import { make } from './dom.js'

const SVG = 'http://www.w3.org/2000/svg'
const MARGIN = { top: 10, right: 14, bottom: 24, left: 44 }
const POINTS = 400
const SCATTER = { size: 400, left: 46, right: 12, top: 12, bottom: 40, dots: 1500 }

/**
 * @param box where the chart goes
 * @param options `height`, `readout(step)` the words under the pointer, `output` where they go
 * @returns `{ draw({ raw, smooth, dots, others, lines, baseline, steps, low, top, format, label }) }`; series are
 *   [[step, value], ...], `others` are several without a name, `lines` several to compare: [{ name, points }]
 */
export function createChart(box, { height, readout, output }) {
  const svg = draw('svg', { role: 'img', class: 'plot', height })
  box.replaceChildren(svg)
  let last = null
  const redraw = () => {
    if (last && box.clientWidth) render(svg, last, { width: box.clientWidth, height })
  }
  new ResizeObserver(redraw).observe(box)
  svg.addEventListener('pointermove', event => {
    if (!last) return
    const step = stepAt(event.clientX - svg.getBoundingClientRect().left, box.clientWidth, last.steps)
    output.textContent = readout(step)
    pointTo(svg, step, { width: box.clientWidth, height, steps: last.steps })
  })
  svg.addEventListener('pointerleave', () => {
    output.textContent = ''
    svg.querySelector('.pointer')?.remove()
  })
  return {
    draw(data) {
      last = data
      redraw()
    },
  }
}

function render(svg, data, { width, height }) {
  const { raw = [], smooth = [], dots = [], others = [], lines = [], baseline, steps, low = 0, format, label } = data
  const highest = data.top ?? [raw, dots, ...others, ...lines.map(({ points }) => points)].flat().reduce((most, [, value]) => Math.max(most, value), 1e-9)
  const ticks = niceTicks(low, highest)
  const top = data.top ?? ticks.at(-1)
  const x = step => MARGIN.left + (width - MARGIN.left - MARGIN.right) * step / Math.max(steps, 1)
  const y = value => height - MARGIN.bottom - (height - MARGIN.top - MARGIN.bottom) * Math.min(Math.max((value - low) / (top - low), 0), 1)
  const path = points => points.map(([step, value], index) => `${index ? 'L' : 'M'}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join('')

  svg.setAttribute('viewBox', `0 0 ${width} ${height}`)
  svg.setAttribute('aria-label', label)
  svg.replaceChildren(
    ...ticks.filter(tick => tick >= low && tick <= top).flatMap(tick => [
      draw('line', { class: 'grid', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
      write(format(tick), { x: MARGIN.left - 8, y: y(tick) + 4, 'text-anchor': 'end' }),
    ]),
    ...stepTicks(steps, width).map(tick => write(tick.toLocaleString('en'), { x: x(tick), y: height - 6, 'text-anchor': tick === 0 ? 'start' : 'middle' })),
    ...(baseline === undefined ? [] : [draw('line', { class: 'baseline', x1: MARGIN.left, x2: width - MARGIN.right, y1: y(baseline.value), y2: y(baseline.value) })]),
    ...others.map(points => draw('path', { class: 'other', d: path(points) })),
    draw('path', { class: 'raw', d: path(thin(raw)) }),
    draw('path', { class: 'smooth', d: path(thin(smooth)) }),
    ...(dots.length ? [draw('path', { class: 'measured', d: path(dots) })] : []),
    ...dots.map(([step, value]) => draw('circle', { class: 'mark', cx: x(step), cy: y(value), r: 3.5 })),
    ...(baseline === undefined ? [] : [write(baseline.text, { class: 'note', x: width - MARGIN.right, y: besideLine(y(baseline.value), height - MARGIN.bottom), 'text-anchor': 'end' })]),
    ...lines.flatMap(({ name, points }) => compared(name, points.map(([step, value]) => [x(step), y(value)]), path(thin(points)))),
  )
}

/** Where a line's name goes: below it, where what is better seldom is; above it where there is no room. */
function besideLine(y, bottom) {
  return y + 18 < bottom ? y + 14 : y - 6
}

/** One of several lines, with its name at its end. */
function compared(name, places, d) {
  if (!places.length) return []
  const [x, y] = places.at(-1)
  return [draw('path', { class: `line series-${name}`, d }), write(name, { class: `end series-${name}`, x: x + 3, y: y + 4 })]
}

function stepAt(left, width, steps) {
  const share = (left - MARGIN.left) / (width - MARGIN.left - MARGIN.right)
  return Math.round(Math.min(Math.max(share, 0), 1) * steps)
}

function pointTo(svg, step, { width, height, steps }) {
  svg.querySelector('.pointer')?.remove()
  const x = MARGIN.left + (width - MARGIN.left - MARGIN.right) * step / Math.max(steps, 1)
  svg.append(draw('line', { class: 'pointer', x1: x, x2: x, y1: MARGIN.top, y2: height - MARGIN.bottom }))
}

/** Averages neighbours until there are no more points than the screen can show. */
function thin(points) {
  const size = Math.ceil(points.length / POINTS)
  if (size <= 1) return points
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, index) => points.slice(index * size, (index + 1) * size))
  return groups.map(group => [group.at(-1)[0], group.reduce((sum, [, value]) => sum + value, 0) / group.length])
}

/** Moving average that, unlike the usual one, does not start at zero. The more points there are, the longer it looks back. */
export function smoothed(points) {
  const keep = Math.min(0.97, 1 - 1 / Math.max(1, points.length / 20))
  let sum = 0
  let weight = 0
  return points.map(([step, value]) => {
    sum = keep * sum + (1 - keep) * value
    weight = keep * weight + (1 - keep)
    return [step, sum / weight]
  })
}

/** Round numbers from just below `lowest` to just above `highest`, about four of them. */
function niceTicks(lowest, highest) {
  const rough = (highest - lowest) / 4
  const power = 10 ** Math.floor(Math.log10(rough))
  const size = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(candidate => candidate >= rough * 0.999)
  const [first, last] = [Math.floor(lowest / size + 1e-9), Math.ceil(highest / size - 1e-9)]
  return Array.from({ length: last - first + 1 }, (_, index) => (first + index) * size)
}

function stepTicks(steps, width) {
  const ticks = niceTicks(0, Math.max(steps, 1)).filter(tick => Number.isInteger(tick) && tick <= steps)
  return width < 420 ? ticks.filter((_, index) => index % 2 === 0) : ticks
}

/** Predicted (upwards) against true values, and the line where both agree; `pairs`: [[true, predicted], ...]. */
export function scatter(pairs, label) {
  const points = pairs.filter(pair => pair.every(Number.isFinite))
  const { size, left, right, top, bottom, dots } = SCATTER
  if (!points.length) return make('p', { className: 'fineprint' }, 'No pair of numbers to draw.')
  const values = points.flat()
  const [lowest, highest] = [values.reduce((least, value) => Math.min(least, value)), values.reduce((most, value) => Math.max(most, value))]
  const room = 0.04 * (highest - lowest) || 0.5
  const [from, to] = [lowest - room, highest + room]
  const ticks = niceTicks(from, to).filter(tick => tick >= from && tick <= to)
  const x = value => left + (size - left - right) * (value - from) / (to - from)
  const y = value => size - bottom - (size - top - bottom) * (value - from) / (to - from)
  const shown = points.filter((_, index) => index % Math.ceil(points.length / dots) === 0)
  const svg = draw('svg', { role: 'img', class: 'plot scatter', viewBox: `0 0 ${size} ${size}`, 'aria-label': label })
  svg.append(
    ...ticks.flatMap(tick => [
      draw('line', { class: 'grid', x1: left, x2: size - right, y1: y(tick), y2: y(tick) }),
      draw('line', { class: 'grid', x1: x(tick), x2: x(tick), y1: top, y2: size - bottom }),
      write(written(tick), { x: left - 8, y: y(tick) + 4, 'text-anchor': 'end' }),
      write(written(tick), { x: x(tick), y: size - bottom + 16, 'text-anchor': 'middle' }),
    ]),
    draw('line', { class: 'agree', x1: x(from), y1: y(from), x2: x(to), y2: y(to) }),
    ...shown.map(([truth, predicted]) => draw('circle', { class: 'dot', cx: x(truth).toFixed(1), cy: y(predicted).toFixed(1), r: 3.5 })),
    write('true', { class: 'axis', x: size - right, y: size - 6, 'text-anchor': 'end' }),
    write('predicted', { class: 'axis', x: left + 6, y: top + 12 }),
  )
  return svg
}

function written(tick) {
  return String(Number(tick.toPrecision(6)))
}

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  return node
}

function write(text, attributes) {
  const node = draw('text', attributes)
  node.textContent = text
  return node
}

/** A bar of a table or list; the number beside it says the same. */
export function bar(share) {
  const element = make('span', { className: 'bar', 'aria-hidden': 'true' })
  element.style.setProperty('--share', Number.isFinite(share) ? share.toFixed(4) : 0)
  return element
}

/** A histogram in plain elements over its two `ends`; `bars` are { share, title, over }, where `over` marks what does not fit. */
export function histogram(bars, ends) {
  const columns = bars.map(({ share, title, over }) => {
    const bar = make('span', { className: over ? 'bar over' : 'bar', title })
    bar.style.setProperty('--share', share.toFixed(4))
    return bar
  })
  return [
    make('div', { className: 'histogram', role: 'img', 'aria-label': bars.map(bar => bar.title).join('; ') }, ...columns),
    make('div', { className: 'ends', 'aria-hidden': 'true' }, ...ends.map(end => make('span', {}, end))),
  ]
}
