import { Code, Refusal } from '@millrace/base'
import { z } from 'zod'
import type { ReplyMessage, RequestMessage } from './message'

/*
 * The readable twin of the wire: same fields, same meaning. Columns stay JSON here, because their dtypes are known
 * only when the request is routed; `libs/workflow` (columnsFromJson, columnsToJson) reads and writes them.
 */

const u64Max = 2n ** 64n - 1n

/** A u64: a number where it is exact, else its decimal digits. */
const u64 = z
  .union([z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER), z.string().regex(/^\d{1,20}$/, 'is not a u64')])
  .transform((value) => BigInt(value))
  .refine((value) => value <= u64Max, 'is larger than a u64')

const requestSchema = z.strictObject({
  id: u64.optional(),
  objective: z.string().min(1).optional(),
  objective_hash: u64.optional(),
  subject: z.union([z.string(), z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)]).optional(),
  context: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  inputs: z.record(z.string(), z.unknown()).optional(),
  deadline_ms: z.number().positive().max(4_294_967).optional(),
  priority: z.enum(['interactive', 'bulk']).optional(),
  override: z
    .strictObject({
      workflow: z.string().optional(),
      version: z.number().int().positive().max(0xffffffff).optional(),
      cell: z.string().optional(),
    })
    .optional(),
  timings: z.boolean().optional(),
  dry_run: z.boolean().optional(),
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
  const { id, objective, objective_hash, subject, context, inputs, deadline_ms, priority, override, timings, dry_run } =
    parsed.data
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
  }
  return { request, inputs: inputs ?? {} }
}

/** The JSON of a reply; `outputs` are its columns as `columnsToJson` made them. Fields that say nothing are left out. */
export function replyToJson(
  reply: ReplyMessage,
  outputs: Readonly<Record<string, unknown>> | null,
): Record<string, unknown> {
  const { id, code, message, route, timings } = reply
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
    ...(outputs === null ? {} : { outputs }),
    ...(timings === null ? {} : { timings_us: timings }),
  }
}
