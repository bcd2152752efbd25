import { Arena, attributeSpec, type ColumnSpec, type Signature } from '@millrace/base'
import fc from 'fast-check'
import { admit, BatchQueue, followLeftOut, giveUp, leaveOutDead, openSlab, type Batch } from './index'

const column = (name: string, spec: Partial<ColumnSpec> = {}): ColumnSpec => ({
  name,
  dtype: 'i32',
  per: 'row',
  shape: [],
  ragged: false,
  ...spec,
})
const signature: Signature = {
  inputs: [
    column('wide', { shape: [3] }),
    column('narrow', { dtype: 'u8' }),
    column('text', { dtype: 'string', ragged: true }),
    column('account', { dtype: 'u64', per: 'request' }),
  ],
  context: [attributeSpec('country', 'text', null)],
  outputs: [column('y')],
}
const openedUs = 7e9

interface Asked {
  readonly rows: number
  /** From the opening of the batch; Infinity: never. */
  readonly deadlineUs: number
  readonly givenUp: boolean
}

/** A closed batch whose every value says which request or row of it it belongs to. */
function closed(queue: BatchQueue, requests: readonly Asked[]): Batch {
  const batch = queue.room(1, 0, openedUs)!
  requests.forEach(({ rows, deadlineUs }, r) => admit(batch, 100 + r, rows, 10 * r, openedUs + deadlineUs))
  queue.take(openedUs)
  const { inputs, context } = open(queue, batch)
  for (let row = 0; row < batch.rows; row++) {
    ;(inputs['wide'] as Int32Array).set([row, row + 1, 2 * row], 3 * row)
    ;(inputs['narrow'] as Uint8Array)[row] = row
    setText(inputs['text'], row, 1000 + row)
  }
  for (let r = 0; r < batch.requests; r++) {
    ;(inputs['account'] as BigUint64Array)[r] = BigInt(r)
    setText(context['country'], r, 2000 + r)
  }
  return batch
}

function open(queue: BatchQueue, batch: Batch) {
  return openSlab(queue.arena.memory, queue.layout, batch.offset, batch.blockBytes)
}

/** What a text says is where it begins: the heap stays as it is. */
function setText(column: unknown, i: number, begin: number): void {
  ;(column as { spans: Uint32Array }).spans.set([begin, 1], 2 * i)
}
function textAt(column: unknown, i: number): number {
  return (column as { spans: Uint32Array }).spans[2 * i]!
}

const request = fc.record({
  rows: fc.integer({ min: 1, max: 4 }),
  deadlineUs: fc.constantFrom(1, 500, 999, 1001, 1e6, Infinity),
  givenUp: fc.boolean(),
})

test('what runs are the requests that somebody waits for, with their rows, in their order; the rest is named once', () => {
  fc.assert(
    fc.property(fc.array(request, { minLength: 1, maxLength: 8 }), (requests) => {
      const queue = new BatchQueue(new Arena(2 ** 14, 64), {
        id: 1,
        signature,
        rowsMax: 32,
        queueRowsMax: 64,
        slabBytesMax: 8192,
        stringBytesPerRow: 1,
        waitUs: 0,
      })
      const batch = closed(queue, requests)
      requests.forEach(({ givenUp }, r) => givenUp && giveUp(batch, r))
      const firstRow = requests.map((_, r) => requests.slice(0, r).reduce((sum, { rows }) => sum + rows, 0))
      const lives = requests.flatMap(({ deadlineUs, givenUp }, r) => (deadlineUs > 1000 && !givenUp ? [r] : []))
      const rows = lives.flatMap((r) => Array.from({ length: requests[r]!.rows }, (_, i) => firstRow[r]! + i))

      leaveOutDead(queue.arena.memory, queue.layout, batch.offset, openedUs + 1000)

      const slab = open(queue, batch)
      expect(Array.from(slab.requestOf)).toEqual(lives.flatMap((r, i) => new Array(requests[r]!.rows).fill(i)))
      expect(Array.from(slab.inputs['wide'] as Int32Array)).toEqual(rows.flatMap((row) => [row, row + 1, 2 * row]))
      expect(Array.from(slab.inputs['narrow'] as Uint8Array)).toEqual(rows)
      expect(rows.map((_, i) => textAt(slab.inputs['text'], i))).toEqual(rows.map((row) => 1000 + row))
      expect(Array.from(slab.inputs['account'] as BigUint64Array)).toEqual(lives.map(BigInt))
      expect(lives.map((_, i) => textAt(slab.context['country'], i))).toEqual(lives.map((r) => 2000 + r))

      const leftOut: number[] = []
      followLeftOut(batch, (call) => leftOut.push(call - 100))
      expect(leftOut).toEqual(requests.map((_, r) => r).filter((r) => !lives.includes(r)))
      expect([batch.rows, batch.requests]).toEqual([rows.length, lives.length])
      expect(lives.map((_, i) => batch.call[i]! - 100)).toEqual(lives)
      expect(lives.map((_, i) => batch.rowOfRequest[i]! / 10)).toEqual(lives)
      const begins = lives.map((_, i) => lives.slice(0, i).reduce((sum, r) => sum + requests[r]!.rows, 0))
      expect(Array.from(batch.rowBegin.subarray(0, lives.length + 1))).toEqual([...begins, rows.length])
    }),
  )
})

test('a deadline that is further away than a word can say is none', () => {
  const queue = new BatchQueue(new Arena(2 ** 14, 64), {
    id: 1,
    signature,
    rowsMax: 8,
    queueRowsMax: 64,
    slabBytesMax: 8192,
    stringBytesPerRow: 1,
    waitUs: 0,
  })
  const batch = closed(queue, [{ rows: 1, deadlineUs: 2 ** 40, givenUp: false }])
  leaveOutDead(queue.arena.memory, queue.layout, batch.offset, openedUs + 2 ** 39)
  expect(open(queue, batch).requests).toBe(1)
})
