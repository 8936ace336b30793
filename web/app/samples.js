// The sets that come with the page: samples/index.json and the files beside it.

const FOLDER = 'samples/'
let index = null

/** The sets for one task. */
export async function listSamples(task) {
  index ??= fetchSample('index.json').then(bytes => JSON.parse(new TextDecoder().decode(bytes)))
  const all = await index
  return all.filter(sample => sample.task === task)
}

/** The bytes of a file of the samples. */
export async function fetchSample(file) {
  const response = await fetch(FOLDER + file)
  if (!response.ok) throw new Error(`${file}: the server answered ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

/** Where the page that tells a set's source and licence lies. */
export function sourceOf(sample) {
  return `${FOLDER}${sample.file}.md`
}
