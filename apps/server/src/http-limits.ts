import type { IncomingMessage, ServerOptions } from 'node:http'

/* What both ports ask of HTTP/1.1 where node:http speaks it; `uws-transport.ts` asks the same of its own requests. */

/** Seconds in which a request's head is there; a connection that says nothing is as old. */
const headSecondsMax = 12
/** Seconds in which a whole request is there, on any line that this server is for. */
const requestSecondsMax = 60
const headBytesMax = 16 * 1024

/** Options of a server that nobody keeps busy by sending slowly. */
export const httpLimits: ServerOptions = {
  headersTimeout: headSecondsMax * 1000,
  requestTimeout: requestSecondsMax * 1000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: headBytesMax,
}

/**
 * Whether a proxy in front reads the request as we do: one Host, at most one Content-Length, no Transfer-Encoding but
 * `chunked`. Where one byte is a body's to us and the next request's to a proxy, a client can hide a request.
 */
export function isPlain(req: IncomingMessage): boolean {
  let hosts = 0
  let lengths = 0
  let encodings = 0
  let chunked = true
  for (let i = 0; i < req.rawHeaders.length; i += 2) {
    const name = req.rawHeaders[i]!.toLowerCase()
    if (name === 'host') hosts++
    else if (name === 'content-length') lengths++
    else if (name === 'transfer-encoding') {
      encodings++
      chunked = req.rawHeaders[i + 1]!.toLowerCase() === 'chunked'
    }
  }
  // HTTP/1.0 has no chunks.
  const version = req.httpVersion === '1.1' || (req.httpVersion === '1.0' && encodings === 0)
  return version && hosts <= 1 && lengths + encodings <= 1 && chunked
}
