import { Code, denseView, Refusal, Strings, type ColumnSpec, type DenseArray, type DenseDType } from '@millrace/base'
import { NoRoute } from '@millrace/rules'
import {
  decodeReply,
  denseColumn,
  encodeReply,
  encodeRequest,
  raggedColumn,
  replyToJson,
  requestFromJson,
  type WireColumn,
} from '@millrace/wire'
import { columnsFromJson, columnsToJson, type ColumnValues } from '@millrace/workflow'
import type { Caller } from './caller'
import type { Party } from './principal'
import type { Road } from './road'

/** Gets one JSON reply. */
export type AnswerJson = (reply: Record<string, unknown>, item: number, code: number) => void

/**
 * A request in the JSON twin, onto the same road: it is routed once to know its columns' types, written as the
 * message it means, and served; its reply is read back. Exactly the binary road's meaning, for readability's price.
 */
export function serveJson(
  road: Road,
  parent: Caller,
  item: number,
  value: unknown,
  dryRun: boolean,
  answer: AnswerJson,
): void {
  try {
    const { request, inputs } = requestFromJson(value)
    const bare = encodeRequest(request)
    const route = road.routeOf(bare, parent.party.who)
    if (route === NoRoute.WAITS) {
      const bytes = JSON.stringify(value).length
      return road.whenAllocated(bytes, () => serveJson(road, parent, item, value, dryRun, answer))
    }
    const version = route < 0 ? null : road.versionOf(route)
    const caller = new JsonCaller(parent, answer, version?.description.signature.outputs ?? [])
    let message = bare
    // Without a version there is nothing to read the columns by: the road says what is wrong.
    if (version !== null && !dryRun && request.dryRun !== true) {
      const columns = columnsOrRefusal(version.description.signature.inputs, inputs)
      if (columns instanceof Refusal) return road.refuseRouted(caller, item, route, columns.code, columns.message)
      message = encodeRequest({ ...request, inputs: columns })
    }
    road.serve(caller, item, message.buffer, message.byteOffset, message.byteLength, dryRun)
  } catch (error) {
    const refusal = error instanceof Refusal ? error : unreadable(error)
    road.answers.count(-1, refusal.code)
    answer(refusalJson(refusal, value), item, refusal.code)
  }
}

/** A bug of ours in reading one request must not end the lane that all others are on. */
function unreadable(error: unknown): Refusal {
  return new Refusal(Code.INTERNAL, `the server could not read this request: ${(error as Error).message}`)
}

/** The reply to what could not be put on the road, with the id of the request if it has one. */
function refusalJson(refusal: Refusal, value: unknown): Record<string, unknown> {
  const id = (value as { id?: unknown } | null)?.id
  return {
    ...(typeof id === 'number' || typeof id === 'string' ? { id } : {}),
    code: refusal.name,
    message: refusal.message,
  }
}

/** In front of a caller that reads JSON. */
class JsonCaller implements Caller {
  lastRun = -1

  constructor(
    private readonly parent: Caller,
    private readonly answer: AnswerJson,
    private readonly outputs: readonly ColumnSpec[],
  ) {}

  get party(): Party {
    return this.parent.party
  }

  get closed(): boolean {
    return this.parent.closed
  }

  reply(message: Uint8Array, item: number, code: number): void {
    const reply = decodeReply(message)
    // A route alone has no columns.
    const scored = code === Code.OK && reply.outputs.length > 0
    this.answer(
      replyToJson(reply, scored ? columnsToJson(this.outputs, columnValues(reply.outputs)) : null),
      item,
      code,
    )
  }

  cork(send: () => void): void {
    this.parent.cork(send)
  }
}

function columnsOrRefusal(
  specs: readonly ColumnSpec[],
  inputs: Readonly<Record<string, unknown>>,
): WireColumn[] | Refusal {
  try {
    const columns = columnsFromJson(specs, inputs).inputs
    return specs.map(({ name, dtype, shape }) => {
      const values = columns[name]!
      return values instanceof Strings ? raggedColumn(name, dtype, values) : denseColumn(name, dtype, values, shape)
    })
  } catch (error) {
    if (error instanceof Refusal) return error
    throw error
  }
}

/** Typed arrays and strings over the columns of a decoded reply. */
export function columnValues(columns: readonly WireColumn[]): ColumnValues {
  return Object.fromEntries(columns.map((column) => [column.name, valuesOf(column)]))
}

function valuesOf({ dtype, data, offsets }: WireColumn): DenseArray | Strings {
  if (offsets === undefined) {
    const bytes = new Uint8Array(data)
    const length = bytes.length / elementBytes(dtype as DenseDType)
    return denseView(dtype as DenseDType, bytes.buffer, 0, length)
  }
  return Strings.of(Array.from({ length: offsets.length - 1 }, (_, i) => data.subarray(offsets[i]!, offsets[i + 1]!)))
}

function elementBytes(dtype: DenseDType): number {
  return denseView(dtype, new ArrayBuffer(0), 0, 0).BYTES_PER_ELEMENT
}

/** An encoded reply that refuses a message which never reached the road. */
export function encodedRefusal(code: Code, message: string): Uint8Array {
  const name = new Refusal(code, message).name as 'INVALID_ARGUMENT'
  return encodeReply({ id: 0n, code: name, message, route: null, outputs: [], timings: null })
}
