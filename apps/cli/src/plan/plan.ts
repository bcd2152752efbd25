import {
  checkProfile,
  checkQuestion,
  plan,
  PlanError,
  profilePath,
  readData,
  simulateFleet,
  type PlanQuestion,
} from '@millrace/plan'
import { Exit, printJson, UsageError } from '../output'
import { showFleet, showPlan } from './show'

export interface PlanOptions {
  readonly profile?: string
  readonly requests?: string
  readonly p50?: string
  readonly p99?: string
  readonly objective?: readonly string[]
  readonly machine?: readonly string[]
  readonly growth?: string
  readonly zones?: string
  readonly fleet?: boolean
  readonly json?: boolean
}

/** Answers a question of capacity; exit 1 when no machine of it can. */
export function planCommand(file: string | undefined, options: PlanOptions): number {
  try {
    const question = questionOf(file, options)
    const path = options.profile ?? (file === undefined ? null : profilePath(question, file))
    if (path === null)
      throw new UsageError('--profile: no profile is named; millrace plan measure writes one of this machine')
    const profile = checkProfile(readData(path, 'profile'), path)
    const answer = plan(question, profile)
    const scenarios = options.fleet === true ? simulateFleet(answer, profile) : []
    if (options.json === true) printJson(options.fleet === true ? { ...answer, scenarios } : answer)
    else {
      showPlan(answer)
      if (scenarios.length > 0) showFleet(scenarios)
    }
    return answer.chosen === null ? Exit.no : Exit.good
  } catch (error) {
    if (error instanceof PlanError) throw new UsageError(error.message)
    throw error
  }
}

/** The file's question with the options over it. */
function questionOf(file: string | undefined, options: PlanOptions): PlanQuestion {
  const data = file === undefined ? {} : readData(file, 'plan')
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    throw new UsageError(`${file} is no plan: a list of fields such as requests_per_s: 1000 is expected`)
  const asked: Record<string, unknown> = { ...data }
  const number = (option: 'requests' | 'p50' | 'p99' | 'growth' | 'zones'): number => numberOf(options[option]!, option)
  if (options.requests !== undefined) asked['requests_per_s'] = number('requests')
  if (options.growth !== undefined) asked['growth_percent'] = number('growth')
  if (options.p50 !== undefined || options.p99 !== undefined)
    asked['latency'] = {
      ...(asked['latency'] as object | undefined),
      ...(options.p50 === undefined ? {} : { p50_ms: number('p50') }),
      ...(options.p99 === undefined ? {} : { p99_ms: number('p99') }),
    }
  if (options.zones !== undefined)
    asked['headroom'] = { ...(asked['headroom'] as object | undefined), zones: number('zones'), lose_zones: 1 }
  if (options.objective !== undefined) asked['mix'] = options.objective.map(mixEntryOf)
  if (options.machine !== undefined) asked['machines'] = options.machine.map(machineOf)
  return checkQuestion(asked, file ?? 'what the options say')
}

function mixEntryOf(text: string): Record<string, unknown> {
  const [objective, rows, share] = text.split(':')
  return {
    objective,
    ...(rows === undefined || rows === '' ? {} : { rows: numberOf(rows, 'objective') }),
    ...(share === undefined ? {} : { share: numberOf(share, 'objective') }),
  }
}

function machineOf(text: string): Record<string, unknown> {
  const [name, cores, price, gpus] = text.split(':')
  if (price === undefined)
    throw new UsageError(`--machine ${text}: must be like c16:16:0.68, its name, cores and price`)
  return {
    name,
    cores: numberOf(cores!, 'machine'),
    price_per_hour: numberOf(price, 'machine'),
    ...(gpus === undefined ? {} : { gpus: numberOf(gpus, 'machine') }),
  }
}

function numberOf(text: string, option: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new UsageError(`--${option}: ${text} is no number`)
  return value
}
