// Numbers as a person reads them.

const COUNT = new Intl.NumberFormat('en')
const SHORT = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 })

/** What stands where there is no number: a score that is not defined, the loss of a run that blew up (null in JSON). */
const NOTHING = '–'

export function count(number) {
  return Number.isFinite(number) ? COUNT.format(number) : NOTHING
}

/** "1 row", "2 rows"; `many` where the plural is not made by an s. */
export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`
}

export function percent(share) {
  return Number.isFinite(share) ? `${Math.round(share * 100)}%` : NOTHING
}

/** Percent with one digit where a whole number would say too little. */
export function percentFine(share) {
  return Number.isFinite(share) ? `${(share * 100).toFixed(1)}%` : NOTHING
}

export function decimal(number, digits = 3) {
  return Number.isFinite(number) ? number.toFixed(digits).replace('-', '−') : NOTHING
}

/** A score or a difference of scores: three digits that count, and no fraction beside hundreds; a year stays a year. */
export function short(number) {
  if (!Number.isFinite(number)) return NOTHING
  return String(Math.abs(number) >= 100 ? Math.round(number) : Number(number.toPrecision(3)))
}

export function rate(number) {
  return number >= 1000 ? `${SHORT.format(number / 1000)} k` : SHORT.format(number)
}

export function bytes(number) {
  return `${(number / 1e6).toFixed(1)} MB`
}

/** A learning rate as one writes it: 0.0005 is 5e-4. */
export function scientific(number) {
  return number.toExponential().replace('e+0', '').replace('e+', 'e')
}

export function milliseconds(time) {
  return time >= 1000 ? `${SHORT.format(time / 1000)} s` : `${SHORT.format(time)} ms`
}

/** A time that is only an estimate, and says no more than it knows. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return '–'
  if (seconds < 1) return 'under 1 s'
  if (seconds < 90) return `${Math.round(seconds)} s`
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`
  return `${(seconds / 3600).toFixed(1)} h`
}
