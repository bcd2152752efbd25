import { Builder, type Offset } from 'flatbuffers'
import { Code, DType, type AttributeValue } from '@millrace/base'
import { Attribute } from './generated/attribute'
import { AttributeKind } from './generated/attribute-kind'
import { Column } from './generated/column'
import { Flag } from './generated/flag'
import { Override } from './generated/override'
import { Priority } from './generated/priority'
import { Reply } from './generated/reply'
import { ReplyItem } from './generated/reply-item'
import { ReplyList } from './generated/reply-list'
import { Request } from './generated/request'
import { RequestItem } from './generated/request-item'
import { RequestList } from './generated/request-list'
import { Timings } from './generated/timings'
import type { ReplyMessage, RequestMessage, WireColumn } from './message'

/** The request as a FlatBuffer: a view whose begin is 8-aligned. */
export function encodeRequest(request: RequestMessage): Uint8Array {
  const builder = new Builder(1024)
  const text = (value: string | undefined): Offset => (value === undefined ? 0 : builder.createString(value))
  const objective = text(request.objective)
  const subject = typeof request.subject === 'string' ? builder.createString(request.subject) : 0
  const context = Object.entries(request.context ?? {}).map(([name, value]) => attribute(builder, name, value))
  const contextVector = context.length > 0 ? Request.createContextVector(builder, context) : 0
  const inputs = (request.inputs ?? []).map((input) => column(builder, input))
  const inputsVector = inputs.length > 0 ? Request.createInputsVector(builder, inputs) : 0
  let override: Offset = 0
  if (request.override !== undefined) {
    const asked = { workflow: undefined, version: 0, cell: undefined, experiment: undefined, ...request.override }
    const [workflow, cell, experiment] = [text(asked.workflow), text(asked.cell), text(asked.experiment)]
    override = Override.createOverride(builder, workflow, asked.version, cell, experiment)
  }
  const decision = request.decision === undefined ? 0 : builder.createByteVector(request.decision)
  Request.startRequest(builder)
  Request.addId(builder, request.id ?? 0n)
  Request.addObjective(builder, objective)
  Request.addObjectiveHash(builder, request.objectiveHash ?? 0n)
  Request.addSubject(builder, subject)
  if (typeof request.subject === 'bigint') Request.addSubjectNumber(builder, request.subject)
  Request.addContext(builder, contextVector)
  Request.addInputs(builder, inputsVector)
  Request.addDeadlineUs(builder, request.deadlineUs ?? 0)
  Request.addPriority(builder, request.priority === 'bulk' ? Priority.Bulk : Priority.Interactive)
  Request.addOverride(builder, override)
  Request.addFlags(builder, (request.timings === true ? Flag.Timings : 0) | (request.dryRun === true ? Flag.DryRun : 0))
  Request.addDecision(builder, decision)
  Request.finishRequestBuffer(builder, Request.endRequest(builder))
  return finished(builder)
}

/** The reply as a FlatBuffer. */
export function encodeReply(reply: ReplyMessage): Uint8Array {
  const builder = new Builder(1024)
  const message = reply.message === '' ? 0 : builder.createString(reply.message)
  const { route } = reply
  const workflow = route === null ? 0 : builder.createString(route.workflow)
  const rule = route === null ? 0 : builder.createString(route.rule)
  const cell = route === null || route.cell === null ? 0 : builder.createString(route.cell)
  const outputs = reply.outputs.map((output) => column(builder, output))
  const outputsVector = outputs.length > 0 ? Reply.createOutputsVector(builder, outputs) : 0
  const { routingKey, decision = null } = reply.resolved ?? {}
  const routingKeyText = routingKey === undefined ? 0 : builder.createString(routingKey)
  const decisionVector = decision === null ? 0 : builder.createByteVector(decision)
  Reply.startReply(builder)
  Reply.addId(builder, reply.id)
  Reply.addCode(builder, Code[reply.code])
  Reply.addMessage(builder, message)
  Reply.addWorkflow(builder, workflow)
  Reply.addVersion(builder, route?.version ?? 0)
  Reply.addRule(builder, rule)
  Reply.addCell(builder, cell)
  Reply.addOutputs(builder, outputsVector)
  if (reply.timings !== null) {
    const { queue, facts, score, total } = reply.timings
    Reply.addTimings(builder, Timings.createTimings(builder, queue, facts, score, total))
  }
  Reply.addRulesVersion(builder, route?.rulesVersion ?? 0)
  Reply.addRoutingKey(builder, routingKeyText)
  Reply.addDecision(builder, decisionVector)
  Reply.finishReplyBuffer(builder, Reply.endReply(builder))
  return finished(builder)
}

/** Requests that were encoded before, as one body. */
export function encodeRequestList(requests: readonly Uint8Array[]): Uint8Array {
  const builder = new Builder(1024)
  const items = requests.map((request) => RequestItem.createRequestItem(builder, nested(builder, request)))
  const list = RequestList.createRequestList(builder, RequestList.createItemsVector(builder, items))
  RequestList.finishRequestListBuffer(builder, list)
  return finished(builder)
}

/** Replies that were encoded before, in the order of their requests, as one body. */
export function encodeReplyList(replies: readonly Uint8Array[]): Uint8Array {
  const builder = new Builder(1024)
  const items = replies.map((reply) => ReplyItem.createReplyItem(builder, nested(builder, reply)))
  const list = ReplyList.createReplyList(builder, ReplyList.createItemsVector(builder, items))
  ReplyList.finishReplyListBuffer(builder, list)
  return finished(builder)
}

function column(builder: Builder, { name, dtype, shape, data, offsets }: WireColumn): Offset {
  const dataVector = nested(builder, data)
  const offsetsVector = offsets === undefined ? 0 : words(builder, offsets)
  const shapeVector = shape === undefined ? 0 : Column.createShapeVector(builder, shape as number[])
  const nameOffset = builder.createString(name)
  Column.startColumn(builder)
  Column.addName(builder, nameOffset)
  Column.addDtype(builder, DType[dtype])
  Column.addShape(builder, shapeVector)
  Column.addData(builder, dataVector)
  Column.addOffsets(builder, offsetsVector)
  return Column.endColumn(builder)
}

function attribute(builder: Builder, name: string, value: AttributeValue): Offset {
  const text = typeof value === 'string' ? builder.createString(value) : 0
  const kind =
    typeof value === 'string'
      ? AttributeKind.Text
      : typeof value === 'number'
        ? AttributeKind.Number
        : AttributeKind.Truth
  return Attribute.createAttribute(
    builder,
    builder.createString(name),
    kind,
    text,
    Number(typeof value !== 'string' && value),
  )
}

/** A vector of bytes whose first is 8-aligned, which the generated code does byte by byte and unaligned. */
function nested(builder: Builder, bytes: Uint8Array): Offset {
  builder.prep(8, bytes.length)
  return builder.createByteVector(bytes)
}

function words(builder: Builder, values: Uint32Array): Offset {
  builder.startVector(4, values.length, 4)
  for (let i = values.length - 1; i >= 0; i--) builder.addInt32(values[i]!)
  return builder.endVector()
}

/** Padded to whole words by `finish`; the view begins where the message does. */
function finished(builder: Builder): Uint8Array {
  return builder.asUint8Array()
}
