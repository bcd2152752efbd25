/** What is asked of the head of a request; one for all, read before the next one is there. */
export const head = {
  contentType: '',
  origin: '',
  authorization: '',
  apiKey: '',
  /** uWebSockets.js does not ask clients for certificates. */
  peer: null,
  chunked: false,
  /** It says how long its body is. */
  hasBody: false,
  /** A proxy in front may see another end of the request, or another request, than the parser of uWebSockets.js. */
  hides: false,
}

/** A request of uWebSockets.js, as far as its headers. */
interface Headers {
  forEach(look: (name: string, value: string) => void): void
}

let lengths = 0
let encodings = 0
let hosts = 0

/**
 * The parser of uWebSockets.js takes the first of two Content-Lengths, an empty one for none, any Transfer-Encoding for
 * `chunked`, and sees no header behind one without a name; the rest of such a body would be read as a request of its own.
 */
export function readHead(req: Headers): typeof head {
  lengths = encodings = hosts = 0
  head.contentType = head.origin = head.authorization = head.apiKey = ''
  head.chunked = head.hides = false
  req.forEach(look)
  head.hasBody = lengths + encodings > 0
  head.hides ||= lengths + encodings > 1 || hosts !== 1
  return head
}

const look = (name: string, value: string): void => {
  if (name === 'content-type') head.contentType = value
  else if (name === 'content-length') {
    lengths++
    if (value === '') head.hides = true
  } else if (name === 'host') hosts++
  else if (name === 'origin') head.origin = value
  else if (name === 'authorization') head.authorization = value
  else if (name === 'x-api-key') head.apiKey = value
  else if (name === 'transfer-encoding') {
    encodings++
    head.chunked = true
    if (value.toLowerCase() !== 'chunked') head.hides = true
  }
}
