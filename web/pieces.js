// Files in pieces: a model may be larger than what should ever be in memory twice.

const PIECE = 4 << 20

/** The bytes of a Blob, one piece after the other; bytes are given as they are. */
export async function* piecesOf(content) {
  if (!(content instanceof Blob)) return yield content
  for (let at = 0; at < content.size; at += PIECE) yield new Uint8Array(await content.slice(at, at + PIECE).arrayBuffer())
}

/** The same Blob apart from the file that it is of, which may go away. */
export async function copyOf(blob) {
  const parts = []
  for await (const bytes of piecesOf(blob)) parts.push(new Blob([bytes]))
  return new Blob(parts)
}

/** A file as the engine takes it: { size, read(start, end) }. Only a browser's workers can read a Blob at once. */
export async function readable(content) {
  if (!(content instanceof Blob)) return { size: content.length, read: (start, end) => content.subarray(start, end) }
  if (!globalThis.FileReaderSync) return readable(new Uint8Array(await content.arrayBuffer()))
  return { size: content.size, read: (start, end) => new Uint8Array(new FileReaderSync().readAsArrayBuffer(content.slice(start, end))) }
}
