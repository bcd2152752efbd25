import { Code, Refusal } from '@millrace/base'
import { z } from 'zod'
import type { OverrideMessage, ReplyMessage, RequestMessage } from './message'
import { overrideForms } from './verify'

/*
 * The readable twin of the wire: same fields, same meaning. Columns stay JSON here, because their dtypes are known
 * only when the request is routed; `libs/workflow` (columnsFromJson, columnsToJson) reads and writes them.
 */

const u64Max = 2n ** 64n - 1n
const isU64 = 'must be a whole number from 0 to 2^53 - 1, or the digits of one up to 2^64 - 1 as text'
const exact = z.int().nonnegative()

/** A u64: a number where it is exact, else its decimal digits. */
const u64 = z
  .unknown()
  .refine((value) => exact.safeParse(value).success || (typeof value === 'string' && /^\d{1,20}$/.test(value)), {
    error: isU64,
    abort: true,
  })
  .transform((value) => BigInt(value as number | string))
  .refine((value) => value <= u64Max, isU64)

const requestSchema = z.strictObject({
  id: u64.optional(),
  objective: z.string().min(1).optional(),
  objective_hash: u64.optional(),
  subject: z.union([z.string(), exact], 'must be text or a whole number from 0 to 2^53 - 1').optional(),
  context: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean()], 'must be text, a finite number, true or false'))
    .optional(),
  inputs: z.record(z.string(), z.unknown()).optional(),
  deadline_ms: z.number().positive().max(4_294_967).optional(),
  priority: z.enum(['interactive', 'bulk']).optional(),
  override: z
    .strictObject({
      workflow: z.string().optional(),
      version: z.number().int().positive().max(0xffffffff).optional(),
      cell: z.string().optional(),
      experiment: z.string().optional(),
    })
    .transform(({ workflow, version, cell, experiment }, context): OverrideMessage => {
      if (workflow !== undefined && version !== undefined && cell === undefined && experiment === undefined)
        return { workflow, version }
      if (cell !== undefined && workflow === undefined && version === undefined) return { cell, experiment }
      context.addIssue(overrideForms)
      return z.NEVER
    })
    .optional(),
  timings: z.boolean().optional(),
  dry_run: z.boolean().optional(),
  decision: z.base64('must be base64, as a resolve answered it').optional(),
})

/** A request of the JSON twin: all but its columns, which come with it as they were written. */
export interface JsonRequest {
  readonly request: RequestMessage
  readonly inputs: Readonly<Record<string, unknown>>
}

/** Throws a Refusal INVALID_ARGUMENT that names the field. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Refusal(Code.INVALID_ARGUMENT, `the body is not JSON: ${(error as Error).message}`)
  }
}

/** Throws a Refusal INVALID_ARGUMENT that names the field. */
export function requestFromJson(json: unknown): JsonRequest {
  const parsed = requestSchema.safeParse(json)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new Refusal(Code.INVALID_ARGUMENT, `${issue.path.join('.') || 'request'}: ${issue.message}`)
  }
  const {
    id,
    objective,
    objective_hash,
    subject,
    context,
    inputs,
    deadline_ms,
    priority,
    override,
    timings,
    dry_run,
    decision,
  } = parsed.data
  const request: RequestMessage = {
    id,
    objective,
    objectiveHash: objective_hash,
    subject: typeof subject === 'number' ? BigInt(subject) : subject,
    context,
    // At least one: 0 on the wire is "the server's default".
    deadlineUs: deadline_ms === undefined ? undefined : Math.max(1, Math.round(deadline_ms * 1000)),
    priority,
    override,
    timings,
    dryRun: dry_run,
    decision: decision === undefined ? undefined : Buffer.from(decision, 'base64'),
  }
  return { request, inputs: inputs ?? {} }
}

/** The JSON of a reply; `outputs` are its columns as `columnsToJson` made them. Fields that say nothing are left out. */
export function replyToJson(
  reply: ReplyMessage,
  outputs: Readonly<Record<string, unknown>> | null,
): Record<string, unknown> {
  const { id, code, message, route, timings, resolved } = reply
  return {
    ...(id === 0n ? {} : { id: id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : String(id) }),
    code,
    ...(message === '' ? {} : { message }),
    ...(route === null
      ? {}
      : {
          workflow: route.workflow,
          version: route.version,
          rule: route.rule,
          cell: route.cell,
          rules_version: route.rulesVersion,
        }),
    ...(resolved === undefined
      ? {}
      : {
          routing_key: resolved.routingKey,
          ...(resolved.decision !== null && { decision: Buffer.from(resolved.decision).toString('base64') }),
        }),
    ...(outputs === null ? {} : { outputs }),
    ...(timings === null ? {} : { timings_us: timings }),
  }
}
