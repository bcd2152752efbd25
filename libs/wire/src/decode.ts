import { ByteBuffer } from 'flatbuffers'
import { codeNames, Refusal, Code } from '@millrace/base'
import type { Column } from './generated/column'
import { Reply } from './generated/reply'
import { ReplyList } from './generated/reply-list'
import { dtypeName, type ReplyMessage, type WireColumn } from './message'
import { dimensionsMax } from './request-view'

/**
 * Reads a reply. Columns are views of a copy of the message, so they outlive the socket's buffer and can reach
 * nothing beside it.
 *
 * Throws a Refusal DATA_LOSS when the bytes are not a reply.
 */
export function decodeReply(message: Uint8Array): ReplyMessage {
  return guarded('reply', () => {
    const buffer = new ByteBuffer(ownBytes(message))
    if (message.length < 12 || !Reply.bufferHasIdentifier(buffer))
      throw new RangeError('the file identifier is not MRRP')
    const reply = Reply.getRootAsReply(buffer)
    const workflow = reply.workflow()
    const timings = reply.timings()
    const routingKey = reply.routingKey()
    const outputs: WireColumn[] = []
    for (let i = 0; i < reply.outputsLength(); i++) outputs.push(readColumn(reply.outputs(i)!))
    return {
      id: reply.id(),
      code: codeNames[reply.code()] ?? 'UNKNOWN',
      message: reply.message() ?? '',
      route:
        workflow === null
          ? null
          : {
              workflow,
              version: reply.version(),
              rule: reply.rule() ?? '',
              cell: reply.cell(),
              rulesVersion: reply.rulesVersion(),
            },
      outputs,
      timings:
        timings === null
          ? null
          : { queue: timings.queue(), facts: timings.facts(), score: timings.score(), total: timings.total() },
      ...(routingKey !== null && { resolved: { routingKey, decision: reply.decisionArray() } }),
    }
  })
}

/** The messages of a reply list, each for `decodeReply`. Throws as it does. */
export function decodeReplyList(message: Uint8Array): Uint8Array[] {
  return guarded('list of replies', () => {
    const buffer = new ByteBuffer(ownBytes(message))
    if (message.length < 12 || !ReplyList.bufferHasIdentifier(buffer))
      throw new RangeError('the file identifier is not MRPL')
    const list = ReplyList.getRootAsReplyList(buffer)
    return Array.from({ length: list.itemsLength() }, (_, i) => list.items(i)!.replyArray()!)
  })
}

/** The id of a reply, without reading the rest. Throws as `decodeReply` does. */
export function replyId(message: Uint8Array): bigint {
  return guarded('reply', () => Reply.getRootAsReply(new ByteBuffer(message)).id())
}

function readColumn(column: Column): WireColumn {
  if (column.shapeLength() > dimensionsMax)
    throw new RangeError(`a shape of ${column.shapeLength()} dimensions, at most ${dimensionsMax}`)
  // A view, unlike reading element by element, throws at a length that reaches beyond the message.
  const shape = Array.from(column.shapeArray() ?? [])
  const offsets = column.offsetsArray()
  return {
    name: column.name()!,
    dtype: dtypeName(column.dtype()),
    shape,
    data: column.dataArray(),
    ...(offsets === null ? {} : { offsets }),
  }
}

/** A copy at the begin of a buffer of its own: aligned, and nothing is behind it. */
function ownBytes(message: Uint8Array): Uint8Array {
  return new Uint8Array(message)
}

function guarded<T>(what: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new Refusal(
      Code.DATA_LOSS,
      `the bytes are not a ${what}: ${error instanceof Error ? error.message : String(error)}`,
    )
  }
}

/** For replies of our own making: the bytes of their outputs, in order, where they lie. */
export function replyOutputs(message: Uint8Array): Pick<WireColumn, 'data' | 'offsets'>[] {
  const reply = Reply.getRootAsReply(new ByteBuffer(message))
  return Array.from({ length: reply.outputsLength() }, (_, i) => {
    const output = reply.outputs(i)!
    const offsets = output.offsetsArray()
    return { data: output.dataArray() ?? noBytes, ...(offsets !== null && { offsets }) }
  })
}
const noBytes = new Uint8Array(0)

/** Where the parts of an encoded reply that change from request to request lie, bytes from its begin; -1 where absent. */
export interface ReplyPlaces {
  readonly id: number
  /** By output. */
  readonly data: readonly number[]
  /** Four u32: queue, facts, score, total. */
  readonly timings: number
}

/** For replies of our own making: a template's places to patch. */
export function replyPlaces(message: Uint8Array): ReplyPlaces {
  const buffer = new ByteBuffer(message)
  const reply = Reply.getRootAsReply(buffer)
  const slot = buffer.__offset(reply.bb_pos, 4)
  const data = Array.from({ length: reply.outputsLength() }, (_, i) => {
    const bytes = reply.outputs(i)!.dataArray()!
    return bytes.byteOffset - message.byteOffset
  })
  return { id: slot === 0 ? -1 : reply.bb_pos + slot, data, timings: reply.timings()?.bb_pos ?? -1 }
}
