import { toColumn, type InputValue } from '@millrace/client'
import { decodeReply, encodeRequest, type ReplyMessage, type RequestMessage } from '@millrace/wire'

/** An encoded request, its inputs in the client library's words. */
export function message(
  objective: string,
  inputs: Readonly<Record<string, InputValue>>,
  fields: Omit<RequestMessage, 'objective' | 'inputs'> = {},
): Uint8Array {
  const columns = Object.entries(inputs).map(([name, value]) => toColumn(name, value))
  return encodeRequest({ id: 1n, objective, inputs: columns, ...fields })
}

/** One row of `echo`. */
export function echoMessage(id: bigint, fields: Omit<RequestMessage, 'objective' | 'inputs' | 'id'> = {}): Uint8Array {
  const inputs = { id: BigUint64Array.of(id), tag: `tag ${id}`, key: BigUint64Array.of(id * 2n), text: [`text ${id}`] }
  return message('echo', inputs, { id, ...fields })
}

/** Decoded, in the order of their ids. */
export function repliesById(messages: readonly (Buffer | string)[]): ReplyMessage[] {
  return messages.map((one) => decodeReply(one as Buffer)).sort((a, b) => Number(a.id - b.id))
}
