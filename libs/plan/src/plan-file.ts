import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { profileSchema, transports, type Profile } from './profile'

/* What a plan is asked: a YAML or JSON file, checked here for its form and, against its profile, for what it names. */

const name = z.string().min(1).max(200)
const percent = z.number().min(0).max(1000)
const ms = z.number().positive().max(3_600_000)

const mixEntry = z.strictObject({
  objective: name.describe('One that the profile measured.'),
  share: z.number().positive().default(1).describe('Of the requests, relative to the others.'),
  rows: z.number().int().min(1).max(1_000_000).optional().describe('Rows of a request; as measured unless given.'),
  transport: z.enum(transports).default('websocket'),
  engine: name.optional().describe('One that the profile measured; the one with the least time a row unless given.'),
})
export type MixEntry = z.infer<typeof mixEntry>

const machineType = z
  .strictObject({
    name,
    cores: z.number().int().min(1).max(4096).describe('CPUs that the profile counts as one.'),
    gpus: z.number().int().min(0).max(64).default(0),
    price_per_hour: z.number().positive().describe('In any currency, the same for all.'),
    speed: z.number().positive().max(100).default(1).describe('Of a CPU, over that of the machine of the profile.'),
    machines_max: z.number().int().min(1).optional().describe('How many there are to be had.'),
  })
  .refine(
    ({ cores, gpus }) => cores > 2 * gpus - 1,
    'has less than two cores for a GPU: a front thread and a pool thread',
  )
export type MachineType = z.infer<typeof machineType>

const headroom = z
  .strictObject({
    zones: z.number().int().min(1).max(100).default(1).describe('Zones that machines are spread over evenly.'),
    lose_zones: z.number().int().min(0).default(0).describe('Zones that may be lost at once.'),
    lose_one_machine_in: z
      .number()
      .int()
      .min(2)
      .optional()
      .describe('One in so many machines, rounded up, may be lost besides.'),
    capacity_percent_max: z
      .number()
      .positive()
      .max(95)
      .default(80)
      .describe('Of what a machine can do at most, with those losses: for what the model does not know.'),
  })
  .refine(({ zones, lose_zones }) => lose_zones < zones, {
    path: ['lose_zones'],
    message: 'leaves no zone; give less than zones',
  })

export const planSchema = z.strictObject({
  $schema: z.string().optional(),
  profile: name.optional().describe('File that millrace plan measure wrote, from the folder of this file.'),
  requests_per_s: z.number().positive().max(1e10),
  growth_percent: percent.default(0).describe('How much more traffic the fleet is to carry.'),
  latency: z
    .strictObject({ p50_ms: ms.optional(), p99_ms: ms.optional() })
    .refine((one) => one.p50_ms !== undefined || one.p99_ms !== undefined, 'asks nothing; give p50_ms or p99_ms'),
  mix: z.array(mixEntry).min(1).max(100),
  machines: z
    .array(machineType)
    .min(1)
    .max(100)
    .refine((all) => new Set(all.map((one) => one.name)).size === all.length, 'has a name twice; give each its own'),
  headroom: headroom.prefault({}),
  connections: z.number().int().min(1).max(1_000_000).default(64).describe('Client connections of one lane.'),
  seed: z.number().int().default(1),
})
export type PlanQuestion = z.infer<typeof planSchema>
export type PlanInput = z.input<typeof planSchema>

/** What was asked is not a question, or not one that the profile answers: each problem with its field and a remedy. */
export class PlanError extends Error {
  constructor(
    what: string,
    readonly problems: readonly string[],
  ) {
    super(`${what}:\n  ${problems.join('\n  ')}`)
    this.name = 'PlanError'
  }
}

/** Reads a YAML or JSON file; `what` says in errors what it should have been. */
export function readData(path: string, what: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new PlanError(`${path} is no ${what}`, [`cannot be read: ${(error as Error).message}`])
  }
  try {
    return parse(text)
  } catch (error) {
    throw new PlanError(`${path} is no ${what}`, [`neither YAML nor JSON: ${(error as Error).message.split('\n')[0]}`])
  }
}

export function checkQuestion(data: unknown, source: string): PlanQuestion {
  return checked(planSchema, data, `${source} is no plan`)
}

export function checkProfile(data: unknown, source: string): Profile {
  return checked(profileSchema, data, `${source} is no profile of millrace plan measure`)
}

/** The file that a plan's `profile` means. */
export function profilePath(question: PlanQuestion, planFile: string): string | null {
  return question.profile === undefined ? null : resolve(dirname(planFile), question.profile)
}

function checked<T>(schema: z.ZodType<T>, data: unknown, what: string): T {
  const result = schema.safeParse(data)
  if (result.success) return result.data
  throw new PlanError(
    what,
    result.error.issues.map((issue) => `${fieldOf(issue.path) || 'the file'}: ${issue.message}`),
  )
}

/** As `mix[0].rows`. */
function fieldOf(path: readonly PropertyKey[]): string {
  return path.map((key, i) => (typeof key === 'number' ? `[${key}]` : `${i > 0 ? '.' : ''}${String(key)}`)).join('')
}
