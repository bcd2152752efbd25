import { bytesPerRow, isRaggedDType, type Signature } from '@millrace/base'
import type { Batch } from '@millrace/batch'
import type { WireColumn } from '@millrace/wire'

interface Piece {
  readonly rowOfRequest: number
  /** By output: one buffer for each row when ragged, one for all when dense. */
  readonly outputs: readonly (readonly Buffer[])[]
}

/**
 * An answer that no template fits: ragged outputs, or rows that were spread over several batches. Its pieces are
 * copied out of their slabs as they come and put together when the last one is there.
 */
export class PartialReply {
  private readonly pieces: Piece[] = []

  constructor(private readonly signature: Signature) {}

  /** Copies the outputs of request `r` of a batch that ran. */
  add(batch: Batch, r: number, memory: SharedArrayBuffer): void {
    const { layout } = batch.queue
    const heap = Buffer.from(
      memory as unknown as ArrayBuffer,
      batch.offset + layout.heap,
      batch.blockBytes - layout.heap,
    )
    this.pieces.push({
      rowOfRequest: batch.rowOfRequest[r]!,
      outputs: this.signature.outputs.map((column, c) => {
        const [begin, end] = column.per === 'row' ? [batch.rowBegin[r]!, batch.rowBegin[r + 1]!] : [r, r + 1]
        const at = batch.offset + layout.outputs[c]!
        if (!column.ragged) {
          const width = bytesPerRow(column)
          return [copy(Buffer.from(memory as unknown as ArrayBuffer, at + begin * width, (end - begin) * width))]
        }
        const spans = new Uint32Array(memory, at + 8 * begin, 2 * (end - begin))
        return Array.from({ length: end - begin }, (_, i) =>
          copy(heap.subarray(spans[2 * i]!, spans[2 * i]! + spans[2 * i + 1]!)),
        )
      }),
    })
  }

  /** The columns of the whole request. Of columns per request, the first piece's. */
  columns(rows: number): WireColumn[] {
    this.pieces.sort((a, b) => a.rowOfRequest - b.rowOfRequest)
    return this.signature.outputs.map(({ name, dtype, per, shape }, c): WireColumn => {
      const pieces = per === 'row' ? this.pieces : this.pieces.slice(0, 1)
      const values = pieces.flatMap((piece) => piece.outputs[c]!)
      const column = { name, dtype, shape: [per === 'row' ? rows : 1, ...shape], data: Buffer.concat(values) }
      if (!isRaggedDType(dtype)) return column
      const offsets = new Uint32Array(values.length + 1)
      values.forEach((value, i) => (offsets[i + 1] = offsets[i]! + value.length))
      return { ...column, offsets }
    })
  }
}

function copy(bytes: Buffer): Buffer {
  return Buffer.from(bytes)
}
