import { Code, Refusal } from '@millrace/base'

/*
 * A recording of requests: what a server wrote of its traffic, what a bench sends. Little-endian:
 *
 *   head     'MRTF', u32 version (1), f64 when it began, milliseconds since 1970
 *   record   f64 when the request arrived, microseconds since the begin; u32 length; the message, as it was sent
 *
 * Records lie end to end, in the order in which they arrived. One that is cut off at the end of the file is not there.
 */

const magic = 'MRTF'
const version = 1
export const recordingHeadBytes = 16
export const recordHeadBytes = 12

/** One request of a recording. */
export interface Recorded {
  /** Microseconds since the recording began. */
  readonly arrivalUs: number
  /** A view of the file's bytes. */
  readonly message: Uint8Array
}

export interface Recording {
  /** Milliseconds since 1970. */
  readonly beganMs: number
  readonly requests: readonly Recorded[]
}

export function recordingHead(beganMs: number): Buffer {
  const head = Buffer.alloc(recordingHeadBytes)
  head.write(magic, 'latin1')
  head.writeUInt32LE(version, 4)
  head.writeDoubleLE(beganMs, 8)
  return head
}

/** Writes the head of a record at `at`; the message of `length` bytes follows it. */
export function writeRecordHead(into: Buffer, at: number, arrivalUs: number, length: number): void {
  into.writeDoubleLE(arrivalUs, at)
  into.writeUInt32LE(length, at + 8)
}

/** A whole file. */
export function encodeRecording({ beganMs, requests }: Recording): Buffer {
  const parts = [recordingHead(beganMs)]
  for (const { arrivalUs, message } of requests) {
    const head = Buffer.alloc(recordHeadBytes)
    writeRecordHead(head, 0, arrivalUs, message.byteLength)
    parts.push(head, Buffer.from(message.buffer, message.byteOffset, message.byteLength))
  }
  return Buffer.concat(parts)
}

/** Throws a Refusal DATA_LOSS when the bytes are no recording. */
export function decodeRecording(file: Buffer): Recording {
  if (file.length < recordingHeadBytes || file.toString('latin1', 0, 4) !== magic)
    throw new Refusal(Code.DATA_LOSS, `the file is no recording: it does not begin with ${magic}`)
  if (file.readUInt32LE(4) !== version)
    throw new Refusal(Code.DATA_LOSS, `the recording has version ${file.readUInt32LE(4)}, known is ${version}`)
  const requests: Recorded[] = []
  for (let at = recordingHeadBytes; at + recordHeadBytes <= file.length; ) {
    const begin = at + recordHeadBytes
    const end = begin + file.readUInt32LE(at + 8)
    if (end > file.length) break
    requests.push({ arrivalUs: file.readDoubleLE(at), message: file.subarray(begin, end) })
    at = end
  }
  return { beganMs: file.readDoubleLE(8), requests }
}
