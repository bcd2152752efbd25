import { z } from 'zod'

/*
 * What requests cost on one kind of machine, as it was measured there: the file that `millrace plan measure` and the
 * bench write and that the planner reads. All times are microseconds of one CPU of that machine.
 */

const us = z.number().nonnegative()
const name = z.string().min(1).max(200)

/** How long batches of one size took on one thread, everything that the worker does included. */
const servicePoint = z
  .strictObject({
    rows: z.number().int().min(1).max(65_536).describe('Rows of these batches.'),
    batches: z.number().int().min(1).describe('Batches that were timed.'),
    mean_us: us,
    min_us: us,
    p50_us: us,
    p90_us: us,
    p99_us: us,
    p999_us: us,
  })
  .refine(
    (one) =>
      one.min_us <= one.p50_us && one.p50_us <= one.p90_us && one.p90_us <= one.p99_us && one.p99_us <= one.p999_us,
    'percentiles go down; give min_us <= p50_us <= p90_us <= p99_us <= p999_us',
  )
export type ServicePoint = z.infer<typeof servicePoint>

const engineCurve = z.strictObject({
  device: z.string().min(1).describe('As a pool names it: cpu, cuda:0, webgpu:0.'),
  threads: z.number().int().min(1).default(1).describe('CPUs that the engine of one pool thread uses.'),
  service: z
    .array(servicePoint)
    .min(1)
    .refine(
      (points) => points.every((point, i) => i === 0 || point.rows > points[i - 1]!.rows),
      'is not in the order of rows, each once',
    ),
})
export type EngineCurve = z.infer<typeof engineCurve>

/** CPU of the front thread for a request of the objective, what it shares with others (reads, batches) not included. */
const frontCost = z.strictObject({
  request_us: us.describe('For a request, besides its rows.'),
  row_us: us.default(0).describe('For each row of it.'),
})
export type FrontCost = z.infer<typeof frontCost>

export const transports = ['websocket', 'http'] as const
export type TransportName = (typeof transports)[number]

const objective = z.strictObject({
  workflow: name.optional().describe('The version that was measured, as price@1.'),
  rows: z.number().int().min(1).default(1).describe('Rows of the requests that were measured.'),
  request_bytes: z.number().nonnegative().optional().describe('Bytes of such a request on the wire.'),
  front: z
    .partialRecord(z.enum(transports), frontCost)
    .refine((one) => Object.keys(one).length > 0, 'has no transport; give websocket or http'),
  batch_rows_max: z.number().int().min(1).max(65_536).default(512).describe('Rows that a batch of it takes.'),
  engines: z
    .record(name, engineCurve)
    .refine((one) => Object.keys(one).length > 0, 'has no engine; give one curve at least'),
})
export type ProfiledObjective = z.infer<typeof objective>

export const profileSchema = z.strictObject({
  millrace_profile: z.literal(1),
  machine: z.strictObject({
    cpu: z.string().min(1),
    cores: z.number().int().min(1),
    memory_gib: z.number().positive(),
    gpu: z.string().min(1).optional(),
  }),
  date: z.iso.date(),
  command: z.string().min(1).describe('What wrote it.'),
  commit: z.string().min(1),
  versions: z.record(name, z.string()).describe('node, and each engine that was measured.'),
  front: z.strictObject({
    read_us: z
      .partialRecord(z.enum(transports), us)
      .describe('CPU of the front thread to read what came on one connection and to write its replies.'),
    batch_us: us.describe('CPU of the front thread to hand a batch over and to take it back.'),
  }),
  worker: z.strictObject({
    batch_us: us.describe('CPU of a pool thread for a batch besides its service time: messages, waking.'),
  }),
  wake_us: us.default(0).describe('Until a thread that sleeps is at work, its CPU for that not included.'),
  objectives: z
    .record(name, objective)
    .refine((one) => Object.keys(one).length > 0, 'is empty; measure one objective at least'),
})
export type Profile = z.infer<typeof profileSchema>
