import { Code } from '@millrace/base'
import { httpStatus } from '@millrace/wire'

/*
 * What came over a connection, read in place: one reply after the other, no object for any of them.
 */

/** The reply that was read last. */
export const reply = {
  /** Its id; 0 where it has none. */
  id: 0,
  /** A `Code`; `Code.UNKNOWN` for what is not ours and not good. */
  code: 0 as number,
  /** A WebSocket's control frame instead: its opcode, and its payload `begin .. end`. */
  control: 0,
  begin: 0,
}

/** Reads the reply at `at`. Returns where it ends, or -1 when it is not all there. */
export type ReadReply = (bytes: Buffer, at: number) => number

/** A WebSocket frame of a server, with a reply of Millrace in it. */
export const readFrame: ReadReply = (bytes, at) => {
  const end = frameEnd(bytes, at)
  if (end < 0 || reply.control !== 0) return end
  const root = reply.begin + bytes.readUInt32LE(reply.begin)
  const vtable = root - bytes.readInt32LE(root)
  // The fields of schema/reply.fbs: id, code.
  const idAt = bytes.readUInt16LE(vtable + 4)
  const codeAt = bytes.readUInt16LE(vtable) > 6 ? bytes.readUInt16LE(vtable + 6) : 0
  reply.id = idAt === 0 ? 0 : bytes.readUInt32LE(root + idAt)
  reply.code = codeAt === 0 ? 0 : bytes[root + codeAt]!
  return end
}

/** A WebSocket frame of a server that sends back what it got. */
export const readEchoedFrame: ReadReply = (bytes, at) => {
  const end = frameEnd(bytes, at)
  if (end < 0 || reply.control !== 0) return end
  const root = reply.begin + bytes.readUInt32LE(reply.begin)
  reply.id = bytes.readUInt32LE(root + bytes.readUInt16LE(root - bytes.readInt32LE(root) + 4))
  reply.code = 0
  return end
}

/** An HTTP/1.1 response, whoever's it is: its code is what its status says. */
export const readResponse: ReadReply = (bytes, at) => {
  const headEnd = bytes.indexOf('\r\n\r\n', at, 'latin1')
  if (headEnd < 0) return -1
  const head = bytes.toString('latin1', at, headEnd).toLowerCase()
  reply.control = 0
  reply.id = 0
  reply.code = codeOfStatus(head.slice(9, 12))
  const length = head.indexOf('\r\ncontent-length:')
  if (length >= 0) {
    const end = headEnd + 4 + Number.parseInt(head.slice(length + 17), 10)
    return end <= bytes.length ? end : -1
  }
  return head.includes('\r\ntransfer-encoding: chunked') ? chunksEnd(bytes, headEnd + 4) : headEnd + 4
}

const codes = new Map(httpStatus.map((status, code): [string, number] => [status.slice(0, 3), code]).reverse())

function codeOfStatus(status: string): number {
  return status === '200' ? Code.OK : (codes.get(status) ?? Code.UNKNOWN)
}

function chunksEnd(bytes: Buffer, begin: number): number {
  for (let at = begin; ; ) {
    const line = bytes.indexOf('\r\n', at, 'latin1')
    if (line < 0) return -1
    const length = Number.parseInt(bytes.toString('latin1', at, line), 16)
    at = line + 2 + length + 2
    if (at > bytes.length) return -1
    if (length === 0) return at
  }
}

/** A server's frame is not masked. Where it ends, or -1 when it is not all there. */
function frameEnd(bytes: Buffer, at: number): number {
  const have = bytes.length - at
  if (have < 2) return -1
  const short = bytes[at + 1]! & 0x7f
  const head = short < 126 ? 2 : short === 126 ? 4 : 10
  if (have < head) return -1
  const length =
    short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
  const opcode = bytes[at]! & 0xf
  reply.begin = at + head
  reply.control = opcode >= 8 ? opcode : 0
  return have < head + length ? -1 : at + head + length
}
