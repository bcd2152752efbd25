import { at, curvesOf, sustained, type MachineCurve, type OperatingPoint } from './machine-curve'
import type { Layout } from './lanes'
import type { MachineType, PlanQuestion } from './plan-file'
import type { Profile } from './profile'

/** A fleet of machines of one type. */
export interface Fleet {
  readonly machine: string
  /** Null when no number of machines is enough, and why. */
  readonly machines: number | null
  readonly reason: string
  readonly layout: Layout
  /** What a pool of such a machine is told. */
  readonly environment: Readonly<Record<string, string>>
  /** Requests a second that one machine takes within the latencies, and at all. */
  readonly sustainedPerS: number
  readonly capacityPerS: number
  readonly saturates: MachineCurve['saturates']
  /** A machine with everything in order, and with as many lost as the head-room allows; null where there is no fleet. */
  readonly usual: OperatingPoint | null
  readonly worst: OperatingPoint | null
  readonly pricePerHour: number | null
  /** Of a million requests at `requests_per_s`. */
  readonly pricePerMillion: number | null
}

/** The same fleet, or the one that would be needed, under other circumstances. */
export interface WhatIf {
  readonly what: string
  readonly fleet: Fleet
  /** With the machines that were planned; null: they do not carry it. */
  readonly planned: OperatingPoint | null
}

export interface Plan {
  readonly question: PlanQuestion
  /** The traffic that is planned for, growth included. */
  readonly requestsPerS: number
  /** The cheapest; null when no type can. */
  readonly chosen: Fleet | null
  /** By price; those that cannot come last. */
  readonly fleets: readonly Fleet[]
  readonly whatIfs: readonly WhatIf[]
}

/** Answers the question with the costs that were measured; throws `PlanError` where these do not answer it. */
export function plan(question: PlanQuestion, profile: Profile): Plan {
  const curves = new Map(question.machines.map((machine) => [machine, curvesOf(question, profile, machine)]))
  const fleets = question.machines
    .map((machine) => fleetOf(question, machine, curves.get(machine)!))
    .sort((a, b) => (a.pricePerHour ?? Infinity) - (b.pricePerHour ?? Infinity))
  const chosen = fleets.find(({ machines }) => machines !== null) ?? null
  const whatIfs: WhatIf[] = []
  if (chosen !== null) {
    const machine = question.machines.find(({ name }) => name === chosen.machine)!
    const own = curves.get(machine)!
    const add = (what: string, changed: PlanQuestion, all = own): void => {
      const perMachine = (changed.requests_per_s * growthOf(changed)) / survivors(chosen.machines!, changed.headroom)
      const curve = all.find(({ layout }) => sameLayout(layout, chosen.layout)) ?? all[0]!
      whatIfs.push({ what, fleet: fleetOf(changed, machine, all), planned: at(curve, perMachine) })
    }
    const { latency, headroom, mix, requests_per_s } = question
    add('as asked', question)
    add('latencies halve', {
      ...question,
      latency: { p50_ms: half(latency.p50_ms), p99_ms: half(latency.p99_ms) },
    })
    add('traffic doubles', { ...question, requests_per_s: 2 * requests_per_s })
    const doubled = {
      ...question,
      mix: mix.map((entry) => ({ ...entry, rows: 2 * (entry.rows ?? profile.objectives[entry.objective]!.rows) })),
    }
    add('rows double', doubled, curvesOf(doubled, profile, machine))
    if (headroom.lose_zones + 1 < headroom.zones)
      add(headroom.lose_zones === 0 ? 'a zone may be lost' : 'one more zone may be lost', {
        ...question,
        headroom: { ...headroom, lose_zones: headroom.lose_zones + 1 },
      })
  }
  return { question, requestsPerS: question.requests_per_s * growthOf(question), chosen, fleets, whatIfs }
}

/** Machines that are left of `machines` when as many are lost as the head-room says: the largest zones first. */
export function survivors(machines: number, headroom: PlanQuestion['headroom']): number {
  const { zones, lose_zones, lose_one_machine_in } = headroom
  const left = machines - lose_zones * Math.floor(machines / zones) - Math.min(lose_zones, machines % zones)
  return left - (lose_one_machine_in === undefined ? 0 : Math.ceil(left / lose_one_machine_in))
}

/** The least of them whose survivors carry the traffic, each at most `sustainedPerS`. */
export function machinesFor(requestsPerS: number, sustainedPerS: number, headroom: PlanQuestion['headroom']): number {
  let machines = Math.max(1, Math.ceil(requestsPerS / sustainedPerS))
  while (survivors(machines, headroom) * sustainedPerS < requestsPerS) machines++
  return machines
}

function fleetOf(question: PlanQuestion, machine: MachineType, curves: readonly MachineCurve[]): Fleet {
  const { capacity_percent_max } = question.headroom
  const rated = curves.map((curve) => ({
    curve,
    sustainedPerS: sustained(curve, question.latency, capacity_percent_max),
  }))
  const { curve, sustainedPerS } = rated.reduce((best, one) => (one.sustainedPerS > best.sustainedPerS ? one : best))
  const { headroom, requests_per_s } = question
  const traffic = requests_per_s * growthOf(question)
  const base = {
    machine: machine.name,
    layout: curve.layout,
    environment: environmentOf(curve.layout),
    sustainedPerS,
    capacityPerS: curve.capacityPerS,
    saturates: curve.saturates,
  }
  const no = (reason: string): Fleet => ({
    ...base,
    ...{ machines: null, reason, usual: null, worst: null, pricePerHour: null, pricePerMillion: null },
  })
  if (sustainedPerS === 0) {
    const { p50Ms, p99Ms } = curve.points[0]!
    return no(`an idle machine answers in ${ms(p50Ms)} (p50) and ${ms(p99Ms)} (p99): ask for longer, or speed it up`)
  }
  const machines = machinesFor(traffic, sustainedPerS, headroom)
  if (machine.machines_max !== undefined && machines > machine.machines_max)
    return no(`${machines} are needed, machines_max is ${machine.machines_max}`)
  const pricePerHour = machines * machine.price_per_hour
  return {
    ...base,
    ...{ machines, reason: '', pricePerHour },
    pricePerMillion: (pricePerHour / 3600 / requests_per_s) * 1e6,
    usual: at(curve, traffic / machines),
    worst: at(curve, traffic / survivors(machines, headroom)),
  }
}

function environmentOf({ lanes, threads, engineThreads, gpu }: Layout): Record<string, string> {
  if (gpu)
    return {
      MILLRACE_LANES: String(lanes),
      MILLRACE_POOLS: 'gpu',
      MILLRACE_POOL_GPU_DEVICE: `cuda:${Array.from({ length: lanes }, (_, i) => i).join(',')}`,
    }
  return {
    MILLRACE_LANES: String(lanes),
    MILLRACE_POOL_CPU_THREADS: String(threads),
    ...(engineThreads > 1 ? { MILLRACE_POOL_CPU_ENGINE_THREADS: String(engineThreads) } : {}),
  }
}

function growthOf({ growth_percent }: PlanQuestion): number {
  return 1 + growth_percent / 100
}

function half(limit: number | undefined): number | undefined {
  return limit === undefined ? undefined : limit / 2
}

function sameLayout(a: Layout, b: Layout): boolean {
  return a.lanes === b.lanes && a.threads === b.threads
}

function ms(value: number): string {
  return `${Number(value.toPrecision(3))} ms`
}
