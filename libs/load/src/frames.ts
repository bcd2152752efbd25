/** How a load speaks: one message a WebSocket frame, or one a POST. */
export type Transport = 'websocket' | 'http'

/** Where a POST goes. */
export interface PostTarget {
  readonly path: string
  readonly contentType: string
  /** Beside those that every POST has. */
  readonly headers?: Readonly<Record<string, string>>
}

export const scorePost: PostTarget = { path: '/v1/score', contentType: 'application/x-flatbuffers' }

/**
 * Requests as they go over a connection, end to end: each is made once and sent again and again, and a run of them is one
 * write.
 */
export class Frames {
  /** Where each frame begins, and the last one ends. */
  readonly begins: readonly number[]
  readonly bytes: Buffer
  readonly count: number
  /** Where the ids lie in `bytes`; empty where replies are not matched by an id. */
  private readonly idsAt: readonly number[]

  /** @param frames each as it is sent, and where the id of its message lies in it; -1: there is none */
  constructor(frames: readonly { readonly bytes: Buffer; readonly idAt: number }[]) {
    const begins = [0]
    for (const { bytes } of frames) begins.push(begins.at(-1)! + bytes.length)
    this.begins = begins
    this.bytes = Buffer.concat(frames.map(({ bytes }) => bytes))
    this.count = frames.length
    this.idsAt = frames.map(({ idAt }, i) => (idAt < 0 ? -1 : begins[i]! + idAt))
    for (const [i, at] of this.idsAt.entries()) if (at >= 0) this.bytes.writeUInt32LE(i + 1, at)
  }

  /** Frames `first .. last`, with the ids `first + 1 .. last + 1`. */
  run(first: number, last: number): Buffer {
    return this.bytes.subarray(this.begins[first], this.begins[last + 1])
  }

  /** A copy of a frame that bears another id. */
  withId(frame: number, id: number): Buffer {
    const begin = this.begins[frame]!
    const copy = Buffer.from(this.run(frame, frame))
    const at = this.idsAt[frame]!
    if (at >= 0) copy.writeUInt32LE(id, at - begin)
    return copy
  }
}

/** Frames around messages of ours, each with an id. */
export function webSocketFrames(messages: readonly Uint8Array[]): Frames {
  return new Frames(
    messages.map((message) => {
      const bytes = maskedFrame(message)
      return { bytes, idAt: bytes.length - message.length + requestIdAt(message) }
    }),
  )
}

/** POSTs around bodies of anybody's. */
export function postFrames(bodies: readonly Uint8Array[], host: string, target: PostTarget): Frames {
  return new Frames(bodies.map((body) => ({ bytes: post(body, host, target), idAt: -1 })))
}

/**
 * A client's WebSocket frame around a message (RFC 6455, 5.2). The mask is zero, which is a valid mask and leaves the
 * payload as it is.
 */
export function maskedFrame(payload: Uint8Array, opcode = 2): Buffer {
  const n = payload.length
  const head = Buffer.alloc(n < 126 ? 6 : n < 65_536 ? 8 : 14)
  head[0] = 0x80 | opcode
  head[1] = 0x80 | (n < 126 ? n : n < 65_536 ? 126 : 127)
  if (n >= 65_536) head.writeBigUInt64BE(BigInt(n), 2)
  else if (n >= 126) head.writeUInt16BE(n, 2)
  return Buffer.concat([head, payload])
}

function post(payload: Uint8Array, host: string, { path, contentType, headers = {} }: PostTarget): Buffer {
  const more = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const head =
    `POST ${path} HTTP/1.1\r\nhost: ${host}\r\n${more.join('')}` +
    `content-type: ${contentType}\r\ncontent-length: ${payload.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head, 'latin1'), payload])
}

/** Where the id of a request lies: the first field of the root table (schema: request.fbs). */
export function requestIdAt(message: Uint8Array): number {
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const root = view.getUint32(0, true)
  const offset = view.getUint16(root - view.getInt32(root, true) + 4, true)
  if (offset === 0) throw new Error('a request without an id cannot be sent over a WebSocket')
  return root + offset
}
