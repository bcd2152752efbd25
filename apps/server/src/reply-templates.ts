import { bytesPerRow, type Signature } from '@millrace/base'
import { encodeReply, replyPlaces, type RouteMessage } from '@millrace/wire'

/** A whole reply with everything in it but the id, the outputs' bytes and the timings. */
export interface ReplyTemplate {
  readonly bytes: Uint8Array
  readonly words: Uint32Array
  /** Indexes into `words`. */
  readonly id: number
  /** -1 when the template has no timings. */
  readonly timings: number
  /** By output: begin and length, bytes; begins are 8-aligned. */
  readonly data: Int32Array
  readonly dataBytes: Int32Array
}

/** Templates that the lane keeps, together, bytes; one more is made for its one reply. */
const keptBytesMax = 32 * 1024 * 1024

/**
 * Replies of dense outputs, prebuilt for each (route, rows, with or without timings): answering is patching a few
 * words and copying the outputs' bytes. Sending copies, so one template serves reply after reply.
 */
export class ReplyTemplates {
  private readonly kept: (ReplyTemplate | undefined)[][] = []
  private keptBytes = 0

  constructor(
    private readonly routeOf: (route: number) => { readonly message: RouteMessage; readonly signature: Signature },
  ) {}

  of(route: number, rows: number, timings: number): ReplyTemplate {
    const key = 2 * rows + timings
    const kept = (this.kept[route] ??= [])
    return kept[key] ?? this.make(route, rows, timings === 1, kept, key)
  }

  private make(
    route: number,
    rows: number,
    timings: boolean,
    kept: (ReplyTemplate | undefined)[],
    key: number,
  ): ReplyTemplate {
    const { message, signature } = this.routeOf(route)
    const encoded = encodeReply({
      // Not 0, which is left out.
      id: 1n,
      code: 'OK',
      message: '',
      route: message,
      outputs: signature.outputs.map((column) => {
        const n = column.per === 'row' ? rows : 1
        const { name, dtype, shape } = column
        return { name, dtype, shape: [n, ...shape], data: new Uint8Array(n * bytesPerRow(column)) }
      }),
      timings: timings ? { queue: 0, facts: 0, score: 0, total: 0 } : null,
    })
    const places = replyPlaces(encoded)
    // A buffer of its own, for word access from its begin.
    const bytes = new Uint8Array(encoded)
    const template: ReplyTemplate = {
      bytes,
      words: new Uint32Array(bytes.buffer),
      id: places.id >>> 2,
      timings: places.timings < 0 ? -1 : places.timings >>> 2,
      data: Int32Array.from(places.data),
      dataBytes: Int32Array.from(
        signature.outputs,
        (column) => (column.per === 'row' ? rows : 1) * bytesPerRow(column),
      ),
    }
    if (this.keptBytes + bytes.length <= keptBytesMax) {
      this.keptBytes += bytes.length
      kept[key] = template
    }
    return template
  }
}
