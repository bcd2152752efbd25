import { assert, type Arena, type Signature } from '@millrace/base'
import { deadlineMost, Header, layoutSlab, type Layout } from './layout'
import { PredictedWait } from './predicted-wait'
import type { WaitingQueues } from './waiting-queues'

/** Rows of one workflow version that run together: a slab, and who is in it. Objects are reused; slabs go back to the arena. */
export class Batch {
  rows = 0
  requests = 0
  heapUsed = 0
  /** Bits of the traffic classes of its requests. */
  traffic = 0
  /** Begin of the slab in the arena, bytes. */
  offset = 0
  blockBytes = 0
  /** When its first row was admitted, and when a worker took it; microseconds. */
  openedUs = 0
  takenUs = 0
  /** What its first row was told that its answer would take, microseconds. */
  predictedUs = 0
  /** Place of the pool that took it among those of the lane. */
  pool = 0
  /** By request of the batch: the call it belongs to, its first row here, and that row's place in the whole request. */
  readonly call: Int32Array
  readonly rowBegin: Int32Array
  readonly rowOfRequest: Int32Array

  constructor(readonly queue: BatchQueue) {
    this.call = new Int32Array(queue.layout.rowsMax)
    this.rowBegin = new Int32Array(queue.layout.rowsMax + 1)
    this.rowOfRequest = new Int32Array(queue.layout.rowsMax)
  }

  /** Bytes of heap left for inputs. */
  get heapLeft(): number {
    return this.queue.inputHeap(this.blockBytes) - this.heapUsed
  }
}

export interface QueueOptions {
  /** Opaque to this room: which workflow version. */
  readonly id: number
  readonly signature: Signature
  readonly rowsMax: number
  /** Rows that may wait, closed and open batches together. */
  readonly queueRowsMax: number
  /** Largest slab, bytes: bounds rowsMax where rows are large. */
  readonly slabBytesMax: number
  /** Bytes of heap reserved for each row of each ragged column. */
  readonly stringBytesPerRow: number
  /** Microseconds that the first row of a batch may wait for more rows while a worker is free. */
  readonly waitUs: number
}

/**
 * Where the rows of one workflow version wait: at most one open batch that gathers, and closed ones behind it in
 * order. This is the only place of the server where anything waits.
 */
export class BatchQueue {
  readonly id: number
  readonly layout: Layout
  readonly queueRowsMax: number
  /** Bytes of an ordinary slab. */
  readonly slabBytes: number
  readonly slabBytesMax: number
  /** Rows that gather in one batch: all that its slab takes, or what a pool said that it wants. A larger request is not cut. */
  rowsLimit: number
  /** Microseconds that the first row of a batch waits for more while a worker is free. */
  waitUs: number
  readonly words: Uint32Array
  private readonly doubles: Float64Array
  /** Half of the heap is kept for ragged outputs, where there are any. */
  private readonly outputShift: number
  open: Batch | null = null
  /** What its batches took. */
  readonly wait = new PredictedWait()
  /** Rows admitted and not yet taken by a worker. */
  rowsWaiting = 0
  /** By pool that serves it. */
  readonly servedBy: WaitingQueues[] = []
  /** Batches that have a slab: they gather, wait or run. */
  batches = 0
  private closed: Batch[] = []
  private closedHead = 0
  private readonly spare: Batch[] = []

  constructor(
    readonly arena: Arena,
    options: QueueOptions,
  ) {
    this.id = options.id
    this.words = new Uint32Array(arena.memory)
    this.doubles = new Float64Array(arena.memory)
    this.queueRowsMax = options.queueRowsMax
    this.waitUs = options.waitUs
    this.outputShift = options.signature.outputs.some((column) => column.ragged) ? 1 : 0
    this.slabBytesMax = Math.min(options.slabBytesMax, arena.totalBytes)
    const { inputs, outputs, context = [] } = options.signature
    const ragged = [...inputs, ...context, ...outputs].filter((column) => column.ragged).length
    const heapBytes = (rows: number): number => 1024 + rows * ragged * options.stringBytesPerRow
    let rowsMax = options.rowsMax
    let layout = layoutSlab(options.signature, rowsMax)
    while (rowsMax > 1 && layout.heap + heapBytes(rowsMax) > this.slabBytesMax) {
      rowsMax = rowsMax >> 1
      layout = layoutSlab(options.signature, rowsMax)
    }
    this.layout = layout
    this.rowsLimit = rowsMax
    this.slabBytes = arena.blockBytes(layout.heap + heapBytes(rowsMax))
    assert(this.slabBytes <= arena.totalBytes, 'one row fits the arena; checked when the version is mapped')
  }

  /** Bytes of heap that one request's part may need at most. */
  get heapBytesMax(): number {
    return this.inputHeap(this.slabBytesMax)
  }

  /** Bytes of heap that inputs may take in a block. */
  inputHeap(blockBytes: number): number {
    return (blockBytes - this.layout.heap) >>> this.outputShift
  }

  /** What `rows` rows count for in the arena: their part of a slab, or slabs of their own. */
  bytesOf(rows: number, heapBytes: number): number {
    const heap = heapBytes << this.outputShift
    if (rows <= this.rowsLimit) return ((rows * this.slabBytes) / this.rowsLimit + heap) | 0
    return Math.min(this.arena.totalBytes, Math.ceil(rows / this.layout.rowsMax) * this.slabBytes) + heap
  }

  /** Whether the open batch takes `rows` more rows with `heapBytes` of ragged values. */
  fits(rows: number, heapBytes: number): boolean {
    const { open } = this
    return open !== null && open.rows + rows <= this.rowsLimit && heapBytes <= open.heapLeft
  }

  /**
   * The batch that takes `rows` more rows with `heapBytes` of ragged values: the open one while they fit, else a
   * fresh one. Null when the arena has no slab left: a refusal, not a wait.
   */
  room(rows: number, heapBytes: number, nowUs: number): Batch | null {
    if (this.fits(rows, heapBytes)) return this.open
    this.close()
    const needed = Math.max(this.slabBytes, this.layout.heap + (heapBytes << this.outputShift))
    const offset = this.arena.take(needed)
    if (offset < 0) return null
    const batch = this.spare.pop() ?? new Batch(this)
    batch.rows = 0
    batch.requests = 0
    batch.heapUsed = 0
    batch.traffic = 0
    batch.offset = offset
    batch.blockBytes = this.arena.blockBytes(needed)
    batch.predictedUs = this.predictUs(rows, nowUs)
    batch.openedUs = nowUs
    this.batches++
    this.open = batch
    return batch
  }

  /**
   * Microseconds that an answer to `rows` rows that come now may take, where that is more than they give; else 0. Never
   * where no batch waits: nobody is in their way.
   */
  overdueUs(rows: number, budgetUs: number, nowUs: number): number {
    if (this.open === null && this.closedHead === this.closed.length) return 0
    const mayTakeUs = this.predictUs(rows, nowUs) + this.wait.slackUs(budgetUs)
    if (mayTakeUs <= budgetUs) return 0
    this.press()
    return mayTakeUs
  }

  private predictUs(rows: number, nowUs: number): number {
    const { open, closed, closedHead, layout } = this
    const joins = open !== null && open.rows + rows <= this.rowsLimit
    const own = Math.ceil(rows / layout.rowsMax)
    const batches = closed.length - closedHead + (joins || open === null ? 0 : 1) + own
    const ownRows = joins ? open.rows + rows : Math.min(rows, layout.rowsMax)
    const oldest = closedHead < closed.length ? closed[closedHead]! : open
    return this.wait.predictUs(batches, this.rowsWaiting + rows, ownRows, oldest?.openedUs ?? nowUs, nowUs)
  }

  /** Moves the open batch behind the closed ones. */
  close(): void {
    if (this.open === null) return
    this.closed.push(this.open)
    this.open = null
  }

  /** When the oldest batch that may be taken was opened, or Infinity when there is none. */
  oldestUs(nowUs: number): number {
    if (this.closedHead < this.closed.length) return this.closed[this.closedHead]!.openedUs
    const { open } = this
    return open === null || (open.openedUs + this.waitUs > nowUs && open.rows < this.rowsLimit)
      ? Infinity
      : open.openedUs
  }

  /** Takes the oldest batch, closing the open one when it is next, and writes its header. */
  take(nowUs: number): Batch {
    let batch = this.open
    if (this.closedHead < this.closed.length) {
      batch = this.closed[this.closedHead++]!
      if (this.closedHead === this.closed.length) {
        this.closed.length = 0
        this.closedHead = 0
      }
    } else this.open = null
    assert(batch !== null, 'take from a queue with a batch')
    batch.takenUs = nowUs
    batch.rowBegin[batch.requests] = batch.rows
    this.rowsWaiting -= batch.rows
    if (this.rowsWaiting === 0) for (const list of this.servedBy) list.leave(this)
    const header = batch.offset >>> 2
    this.words[header + Header.rows] = batch.rows
    this.words[header + Header.requests] = batch.requests
    this.words[header + Header.heapUsed] = batch.heapUsed
    this.words[header + Header.traffic] = batch.traffic
    this.doubles[(header + Header.openedUs) >>> 1] = batch.openedUs
    this.words[header + Header.rowsFit] = 0
    this.words[header + Header.tooLarge] = 0
    return batch
  }

  /** Somebody was refused because he would wait too long, or waited too long. */
  press(): void {
    for (const list of this.servedBy) list.pressed = true
  }

  /** Batches that were taken and are not free yet. */
  get underWay(): number {
    return this.batches - (this.closed.length - this.closedHead) - (this.open === null ? 0 : 1)
  }

  /** What the batch that `take` gives will cost its thread, microseconds; 0 while nothing is known of that. */
  get nextUs(): number {
    const { rows } = this.closedHead < this.closed.length ? this.closed[this.closedHead]! : this.open!
    return this.wait.fixedUs + this.wait.rowUs * rows
  }

  /** Gives an answered batch's slab back. */
  free(batch: Batch): void {
    this.arena.release(batch.offset)
    this.batches--
    this.spare.push(batch)
  }
}

/**
 * Counts `rows` rows of `call` into `batch`; the caller then copies their columns to `[rowBegin, rowBegin + rows)`.
 *
 * @param rowOfRequest where these rows begin in the whole request (not 0 when it was split over batches)
 * @param deadlineUs when nobody wants the answer any more
 * @returns the request's index in the batch
 */
export function admit(batch: Batch, call: number, rows: number, rowOfRequest: number, deadlineUs: number): number {
  const { queue } = batch
  const request = batch.requests++
  batch.call[request] = call
  batch.rowBegin[request] = batch.rows
  batch.rowOfRequest[request] = rowOfRequest
  queue.words[deadlineAt(batch, request)] = Math.max(1, Math.min(deadlineMost, deadlineUs - batch.openedUs))
  const requestOf = (batch.offset + queue.layout.requestOf) >>> 2
  for (let row = batch.rows; row < batch.rows + rows; row++) queue.words[requestOf + row] = request
  batch.rows += rows
  if (queue.rowsWaiting === 0) for (const list of queue.servedBy) list.waiting.push(queue)
  queue.rowsWaiting += rows
  return request
}

/** Nobody wants the answer of a request any more; it does not run unless it has begun. */
export function giveUp(batch: Batch, request: number): void {
  batch.queue.words[deadlineAt(batch, request)] = 0
}

function deadlineAt({ offset, queue }: Batch, request: number): number {
  return ((offset + queue.layout.deadlines) >>> 2) + request
}
