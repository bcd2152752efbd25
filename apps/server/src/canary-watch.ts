import { comparingShadows, parseRules, runningCanaries, type Canary, type Rules, type Shadow } from '@millrace/rules'
import { codeTable } from '@millrace/wire'
import { StopWatch, type Answered, type Differed } from './canary-stop'
import type { NumberedRules } from './lane-messages'
import type { Retired } from './retired'

/** A canary that is to be taken off, and why. */
export interface CanaryStop {
  readonly canary: string
  readonly why: string
}

type Fault = 'failed' | 'refused' | 'neither'

/** By the name of a code, whose fault it is. Too much load and a caller that left are nobody's. */
const faults: ReadonlyMap<string, Fault> = new Map(
  codeTable().map(({ name, http }): [string, Fault] => [
    name,
    http >= 500 ? 'failed' : http >= 400 && http !== 429 && http !== 499 ? 'refused' : 'neither',
  ]),
)

/** Looks at what the canaries of the rules in force answered, and says which are to be taken off. */
export class CanaryWatch {
  /** By what is compared: a canary, a default or a tolerance that is changed is looked at anew. */
  private watches = new Map<string, StopWatch>()
  private read: { readonly version: number; readonly rules: Rules } | null = null

  /**
   * @param counted what lanes answered, those that are gone included; only asked for where a canary has limits
   * @param nowMs of a clock that does not go back
   */
  look(inForce: NumberedRules, counted: () => Retired, nowMs: number): CanaryStop[] {
    if (this.read?.version !== inForce.version)
      this.read = { version: inForce.version, rules: parseRules(inForce.rules) }
    const { rules } = this.read
    const stops: CanaryStop[] = []
    const watches = new Map<string, StopWatch>()
    const watched = runningCanaries(rules).filter(({ stop }) => stop !== undefined)
    if (watched.length > 0) {
      const sums = counted()
      const [answered, differedFrom] = [byRule(sums), byShadow(sums)]
      for (const canary of watched)
        for (const objective of canary.objectives) {
          const { id, workflow, stop } = canary
          const other = rules.objectives[objective]!.default
          const shadows = comparingShadows(rules, canary, objective)
          const compared = shadows.map((shadow) => [shadow.id, shadow.tolerance])
          const key = JSON.stringify([objective, id, workflow, other, stop, compared])
          const watch = this.watches.get(key) ?? new StopWatch(stop!)
          watches.set(key, watch)
          const verdict = watch.observe(
            nowMs,
            answered(objective, workflow, id),
            answered(objective, other, 'default'),
            shadows.map((shadow) => differedFrom(objective, canary, shadow)),
          )
          if (verdict !== null) stops.push({ canary: id, why: `of ${objective}, ${verdict.why}` })
        }
    }
    this.watches = watches
    return stops
  }
}

type Answers = (objective: string, workflow: string, rule: string) => Answered

function byRule({ requests, ruleLatencies }: Retired): Answers {
  const keyOf = (objective: string, workflow: string, rule: string): string =>
    JSON.stringify([objective, workflow, rule])
  const sums = new Map<string, { answers: number; failed: number; refused: number; neither: number }>()
  for (const { objective, workflow, version, rule, code, count } of requests.values()) {
    const key = keyOf(objective, `${workflow}@${version}`, rule)
    const sum = sums.get(key) ?? { answers: 0, failed: 0, refused: 0, neither: 0 }
    sum.answers += count
    sum[faults.get(code) ?? 'failed'] += count
    sums.set(key, sum)
  }
  const latencies = new Map(
    [...ruleLatencies.values()].map(({ objective, workflow, version, rule, histogram }) => [
      keyOf(objective, `${workflow}@${version}`, rule),
      histogram,
    ]),
  )
  return (objective, workflow, rule) => {
    const key = keyOf(objective, workflow, rule)
    const { answers = 0, failed = 0, refused = 0 } = sums.get(key) ?? {}
    return { answers, failed, refused, latency: latencies.get(key) ?? null }
  }
}

type Differences = (objective: string, canary: Canary, shadow: Shadow) => Differed

function byShadow({ shadows }: Retired): Differences {
  const keyOf = (...labels: readonly string[]): string => JSON.stringify(labels)
  const sums = new Map(
    [...shadows.values()].map((sum) => [
      keyOf(sum.objective, sum.shadow, `${sum.workflow}@${sum.version}`, sum.primary, sum.rule),
      sum,
    ]),
  )
  return (objective, canary, shadow) => {
    const sum = sums.get(keyOf(objective, shadow.id, shadow.workflow, canary.workflow, canary.id))
    return { shadow: shadow.id, requests: sum?.outcomes.compared ?? 0, outputs: sum?.outputs ?? {} }
  }
}
