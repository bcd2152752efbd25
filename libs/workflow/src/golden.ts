import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { codeNames, type CodeName, type Context } from '@millrace/base'
import { z } from 'zod'
import { columnsFromJson, columnsToJson } from './columns-json'
import type { LoadedVersion } from './loaded'
import { messageOf } from './message-of'
import { runOffline, type OfflineAnswer, type OfflineOptions } from './offline'
import { atOnce, type Step } from './step'

/** A request with its expected answer. */
export interface Golden {
  /** File and place in it, for messages. */
  readonly at: string
  readonly inputs: Readonly<Record<string, unknown>>
  /** Attributes of its context. */
  readonly context: Context
  /** The code that is expected; OK unless said. */
  readonly code: CodeName
  /** Expected columns; those left out are not compared. */
  readonly outputs: Readonly<Record<string, unknown>>
  /** A number passes when it differs by at most `tolerance * max(1, |expected|)`. */
  readonly tolerance: number
}

const goldenSchema = z.array(
  z.strictObject({
    inputs: z.record(z.string(), z.unknown()),
    context: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
    outputs: z.record(z.string(), z.unknown()).default({}),
    code: z.enum(codeNames as [CodeName, ...CodeName[]]).default('OK'),
    tolerance: z.number().min(0).default(1e-5),
  }),
)

/** `golden.json` and `golden/*.json` of a version's folder; each a list. Throws an Error that names file and field. */
export function readGolden(folder: string): Golden[] {
  const files = [join(folder, 'golden.json'), ...jsonFiles(join(folder, 'golden'))]
  return files
    .filter((file) => existsSync(file))
    .flatMap((file) => {
      const name = basename(file)
      let json: unknown
      try {
        json = JSON.parse(readFileSync(file, 'utf8'))
      } catch (error) {
        throw new Error(`${name} is not JSON: ${messageOf(error)}`, { cause: error })
      }
      const parsed = goldenSchema.safeParse(json)
      if (!parsed.success) {
        const issue = parsed.error.issues[0]!
        throw new Error(`${name}: ${issue.path.join('.') || 'the whole'}: ${issue.message}`)
      }
      return parsed.data.map((golden, i) => ({ at: `${name}[${i}]`, ...golden }))
    })
}

/**
 * Runs every golden request alone and then all of them in batches.
 *
 * @returns what differs first, for each request that fails
 */
export async function checkGolden(
  version: LoadedVersion,
  goldens: readonly Golden[],
  step: Step = atOnce,
): Promise<string[]> {
  const failures: string[] = []
  for (const golden of goldens) {
    const failure = await step(() => alone(version, golden))
    if (failure !== null) failures.push(failure)
  }
  if (failures.length > 0 || goldens.length < 2) return failures
  const together = await step(() => runGolden(version, goldens))
  return goldens.flatMap((golden, i) => {
    const failure = differs(version, golden, together[i]!)
    return failure === null ? [] : [`${failure} (in a batch with the others; alone it passes)`]
  })
}

/** What a version answers to golden requests. Rejects as `runOffline` does. */
export function runGolden(
  version: LoadedVersion,
  goldens: readonly Golden[],
  options: OfflineOptions = {},
): Promise<OfflineAnswer[]> {
  const contexts = goldens.map(({ context }) => context)
  return runOffline(
    version,
    goldens.map(({ inputs }) => inputs),
    { ...options, contexts },
  )
}

async function alone(version: LoadedVersion, golden: Golden): Promise<string | null> {
  try {
    const [answer] = await runGolden(version, [golden])
    return differs(version, golden, answer!)
  } catch (error) {
    return `${golden.at}: ${messageOf(error)}`
  }
}

function differs(version: LoadedVersion, golden: Golden, answer: OfflineAnswer): string | null {
  if (answer.code !== golden.code)
    return `${golden.at}: code is ${answer.code}, expected ${golden.code}${answer.code === 'OK' ? '' : `: ${answer.message}`}`
  if (answer.code !== 'OK') return null
  const specs = version.signature.outputs
  for (const [name, json] of Object.entries(golden.outputs)) {
    const spec = specs.find((output) => output.name === name)
    if (spec === undefined)
      return `${golden.at}: outputs.${name}: no such output; there are ${specs.map((output) => output.name).join(', ')}`
    let expected: unknown
    try {
      // Through the typed column and back, so that `[1, 2]` for shape [2] and f32 rounding compare as they should.
      expected = columnsToJson([spec], columnsFromJson([spec], { [name]: json }).inputs)[name]
    } catch (error) {
      return `${golden.at}: ${messageOf(error).replace(/^inputs/, 'outputs')}`
    }
    const difference = firstDifference(`outputs.${name}`, answer.outputs[name], expected, golden.tolerance)
    if (difference !== null) return `${golden.at}: ${difference}`
  }
  return null
}

/** The first value that differs by more than the tolerance, in words; null when all agree. */
export function firstDifference(at: string, is: unknown, expected: unknown, tolerance: number): string | null {
  if (Array.isArray(is) && Array.isArray(expected)) {
    if (is.length !== expected.length) return `${at} has ${is.length} values, expected ${expected.length}`
    for (let i = 0; i < is.length; i++) {
      const difference = firstDifference(`${at}[${i}]`, is[i], expected[i], tolerance)
      if (difference !== null) return difference
    }
    return null
  }
  if (typeof is === 'number' && typeof expected === 'number')
    return Math.abs(is - expected) <= tolerance * Math.max(1, Math.abs(expected))
      ? null
      : `${at} is ${is}, expected ${expected} within ${tolerance}`
  return is === expected ? null : `${at} is ${JSON.stringify(is)}, expected ${JSON.stringify(expected)}`
}

function jsonFiles(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .filter((name) => name.endsWith('.json') && !/^[._]/.test(name))
    .sort()
    .map((name) => join(folder, name))
}
