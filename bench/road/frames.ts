import { encodeRequest } from '@millrace/wire'

/** The request that every load sends: 64 floats, one row. */
export function requestOf(
  objectiveHash: bigint,
  id: bigint,
  features: Float32Array,
  subject: string,
  decision?: Uint8Array,
): Uint8Array {
  return encodeRequest({
    id,
    decision,
    objectiveHash,
    subject,
    inputs: [
      {
        name: 'features',
        dtype: 'f32',
        shape: [1, 64],
        data: new Uint8Array(features.buffer, features.byteOffset, 256),
      },
    ],
  })
}

/**
 * A client's WebSocket frame around a message (RFC 6455, 5.2). The mask is zero, which is a valid mask and leaves the
 * payload as it is: frames are made once and sent again and again.
 */
export function maskedFrame(payload: Uint8Array): Buffer {
  const n = payload.length
  const head = n < 126 ? Buffer.from([0x82, 0x80 | n]) : Buffer.from([0x82, 0x80 | 126, n >> 8, n & 0xff])
  return Buffer.concat([head, Buffer.alloc(4), payload])
}

/** An HTTP/1.1 POST around a message. */
export function post(payload: Uint8Array, host: string): Buffer {
  const head =
    `POST /v1/score HTTP/1.1\r\nhost: ${host}\r\n` +
    `content-type: application/x-flatbuffers\r\ncontent-length: ${payload.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head, 'latin1'), payload])
}
