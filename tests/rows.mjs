// The rows that most tests of the library train on.

/** 64 rows of four words each, where every word gives the label away: a random model learns it in thirty steps. */
export const ROWS = Array.from({ length: 64 }, (_, index) => {
  const kinds = { food: ['soup', 'bread', 'apple', 'cheese'], space: ['rocket', 'star', 'moon', 'planet'] }
  const label = index % 2 ? 'space' : 'food'
  // The row's number among its kind, written in base four with the kind's words as digits.
  const word = digit => kinds[label][(index >> 1 >> 2 * digit) & 3]
  return { text: [3, 2, 1, 0].map(word).join(' '), label }
})

export const CSV = ['text,label', ...ROWS.map(({ text, label }) => `"${text}",${label}`)].join('\n')
