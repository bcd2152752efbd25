import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { RulesFile } from '@millrace/rules'
import { randomPlan } from './plan'
import type { ControlWorld } from './world'

/** Workflows, each an objective of every rules file. */
export const workflows = ['w0', 'w1'] as const

/** A repository that people work on while it is served. */
export class SimulatedRepository {
  readonly path = mkdtempSync(join(tmpdir(), 'simulate-'))
  /** By workflow: versions whose folders are there. */
  readonly there = new Map<string, number[]>(workflows.map((name) => [name, []]))
  private written = 0

  constructor(
    private readonly world: ControlWorld,
    private readonly calm: boolean,
  ) {
    for (const name of workflows) this.write(name, 1, 'ready')
  }

  remove(): void {
    rmSync(this.path, { recursive: true })
  }

  /** Somebody adds a version, changes one, takes one away, or writes other rules. */
  change(): void {
    const { chance } = this.world
    const name = chance.pick(workflows)
    const versions = this.there.get(name)!
    const kind = chance.whole(0, 5)
    if (kind <= 2) this.write(name, Math.max(0, ...versions) + 1)
    else if (kind === 3 && versions.length > 1) this.takeAway(name, chance.pick(versions))
    else if (kind === 4) this.write(name, chance.pick(versions.length > 0 ? versions : [1]))
    else this.writeRules()
  }

  /** Rules over versions that are there, and now and then over one that is not. */
  randomRules(): RulesFile {
    const { chance } = this.world
    const versionOf = (name: string): string => {
      const versions = this.there.get(name)!
      return `${name}@${chance.holds(0.05) || versions.length === 0 ? 99 : chance.pick(versions)}`
    }
    return {
      objectives: Object.fromEntries(workflows.map((name) => [name, { default: versionOf(name) }])),
      canaries: workflows
        .filter(() => chance.holds(0.3))
        .map((name) => ({ id: `canary-${name}`, objectives: [name], workflow: versionOf(name), percent: 50 })),
    }
  }

  private write(name: string, version: number, outcome?: 'ready'): void {
    const { world } = this
    const folder = join(this.path, 'workflows', name, String(version))
    const isNew = !world.plans.has(folder)
    mkdirSync(folder, { recursive: true })
    // Of another length each time: what is told apart by size is told apart.
    writeFileSync(join(folder, 'model.bin'), 'x'.repeat(++this.written))
    // What is new is written for a while, as long as nobody may take it for whole.
    if (isNew && outcome === undefined) this.writeOn(folder)
    const plan = randomPlan(world.chance, this.calm)
    const versions = this.there.get(name)!
    // Lanes that start again load what others serve: where that was changed in place and ends them, it does each time.
    if (world.plans.has(folder) && plan.outcome === 'ends the process') plan.outcome = 'failed'
    world.plans.set(folder, { ...plan, ...(outcome && { outcome }) })
    if (!versions.includes(version)) versions.push(version)
    world.tell(() => `${name}@${version} is written: ${world.plans.get(folder)!.outcome} in ${plan.ms} ms`)
  }

  private writeOn(folder: string): void {
    const { world } = this
    world.halfWritten.add(folder)
    world.clock.after(world.chance.whole(1, 90), () => {
      world.halfWritten.delete(folder)
      if (existsSync(folder)) writeFileSync(join(folder, 'model.bin'), 'x'.repeat(++this.written))
    })
  }

  private takeAway(name: string, version: number): void {
    rmSync(join(this.path, 'workflows', name, String(version)), { recursive: true })
    const versions = this.there.get(name)!
    versions.splice(versions.indexOf(version), 1)
    this.world.tell(() => `the folder of ${name}@${version} is taken away`)
  }

  private writeRules(): void {
    const { chance } = this.world
    const text = chance.holds(0.1) ? '{"objectives": ' : JSON.stringify(this.randomRules())
    writeFileSync(join(this.path, 'rules.json'), `${text}${' '.repeat(++this.written)}`)
    this.world.tell(() => `rules.json is written: ${text}`)
  }
}
