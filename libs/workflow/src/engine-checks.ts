import { engines as engineKinds } from '@millrace/engine'
import type { VersionDescription, VersionFolder } from './description'
import { Engines } from './engines'
import { readGolden, runGolden } from './golden'
import { loadVersion, modelFormats, type LoadContext } from './load'
import type { LoadedVersion } from './loaded'
import type { OfflineAnswer } from './offline'

/** What came of a version on one engine. */
export interface EngineCheck {
  /** Name of the engine; null for a version without a model. */
  readonly engine: string | null
  readonly description: VersionDescription
  /**
   * The largest difference of an output of the golden requests from the first engine's, `|a - b| / max(1, |b|)`, Infinity
   * where texts or codes differ; null on the first engine, without golden requests, and where the version failed.
   */
  readonly difference: number | null
}

/** Loads versions, golden requests included, on every engine that is here and takes one of their models. */
export class EngineChecks {
  private readonly engines = new Map<string, Engines>()

  /** @param only the one engine that is asked for; null: all */
  constructor(
    private readonly context: Omit<LoadContext, 'engines'>,
    private readonly only: string | null = null,
  ) {}

  /**
   * The first is what a server takes where nothing else is said; the others only when that one is ready. Empty where the
   * one engine that is asked for takes no models of this format. Never rejects.
   */
  async check(folder: VersionFolder): Promise<EngineCheck[]> {
    if (this.only !== null && (await this.isForOthers(folder, this.only))) return []
    const first = await this.checkOn(folder, this.only, null)
    const checks = [first.check]
    if (first.check.description.state !== 'ready' || this.only !== null) return checks
    const { models } = first.check.description
    const others = engineKinds.filter(
      (kind) =>
        models.some(({ format, engine }) => kind.formats.includes(format) && engine !== kind.name) &&
        kind.probe().available,
    )
    for (const { name } of others) checks.push((await this.checkOn(folder, name, first.answers)).check)
    return checks
  }

  async dispose(): Promise<void> {
    for (const engines of this.engines.values()) await engines.dispose()
    this.engines.clear()
  }

  private async isForOthers(folder: VersionFolder, engine: string): Promise<boolean> {
    const takes = engineKinds.find(({ name }) => name === engine)?.formats ?? []
    // What cannot be read fails as it would in a server, and says why.
    const formats = await modelFormats(folder).catch(() => [])
    return formats.some((format) => !takes.includes(format))
  }

  private async checkOn(
    folder: VersionFolder,
    engine: string | null,
    reference: readonly OfflineAnswer[] | null,
  ): Promise<{ readonly check: EngineCheck; readonly answers: readonly OfflineAnswer[] | null }> {
    const { version, description } = await loadVersion(folder, { ...this.context, engines: this.enginesOf(engine) })
    const taken = engine ?? description.models[0]?.engine ?? null
    if (version === null) return { check: { engine: taken, description, difference: null }, answers: null }
    const answers = description.golden === null ? null : await goldenAnswers(version)
    version.dispose()
    const difference = answers === null || reference === null ? null : largestDifference(answers, reference)
    return { check: { engine: taken, description, difference }, answers }
  }

  /** With `engine` before all others, or alone where only that is asked for. */
  private enginesOf(engine: string | null): Engines {
    const key = engine ?? ''
    const others = engineKinds.map(({ name }) => name).filter((name) => name !== engine)
    const preferred = engine === null ? [] : this.only === engine ? [engine] : [engine, ...others]
    const engines = this.engines.get(key) ?? new Engines({ threads: 1, device: 'cpu' }, preferred)
    this.engines.set(key, engines)
    return engines
  }
}

function goldenAnswers(version: LoadedVersion): Promise<OfflineAnswer[]> {
  return runGolden(version, readGolden(version.folder.path))
}

/** `EngineCheck.difference` of answers, which are JSON. */
export function largestDifference(is: unknown, reference: unknown): number {
  if (typeof is === 'number' && typeof reference === 'number')
    return Object.is(is, reference) ? 0 : Math.abs(is - reference) / Math.max(1, Math.abs(reference))
  if (typeof is !== 'object' || typeof reference !== 'object' || is === null || reference === null)
    return is === reference ? 0 : Infinity
  const [left, right] = [Object.entries(is), Object.entries(reference)]
  if (left.length !== right.length) return Infinity
  return left.reduce(
    (largest, [name, value], i) =>
      name === right[i]![0] ? Math.max(largest, largestDifference(value, right[i]![1])) : Infinity,
    0,
  )
}
