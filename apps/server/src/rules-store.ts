import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Code, Refusal } from '@millrace/base'
import { parseRules, type RulesFile } from '@millrace/rules'

/** A version of the rules, with who made it and why. */
export interface RulesVersion {
  /** One more than the one before. */
  readonly version: number
  /** ISO 8601. */
  readonly time: string
  readonly author: string
  readonly note: string
  /** The repository's own file, a publish, an earlier version again, or canaries that were taken off. */
  readonly origin: 'repository' | 'publish' | 'rollback' | 'stop'
  readonly rules: RulesFile
}

const namePattern = /^(\d{8})\.json$/

/**
 * The versions of the rules, a file for each: `<folder>/00000042.json`. A version appears whole or not at all, is never
 * changed, and survives what happens to the server.
 */
export class RulesStore {
  /** @param folder created with the first version that is added */
  constructor(readonly folder: string) {}

  /** Ascending. */
  versions(): number[] {
    let names: string[]
    try {
      names = readdirSync(this.folder)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    return names
      .flatMap((name) => namePattern.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
  }

  latest(): RulesVersion | null {
    const last = this.versions().at(-1)
    return last === undefined ? null : this.read(last)
  }

  /** Throws a Refusal NOT_FOUND when there is no such version, DATA_LOSS when its file was changed by hand. */
  read(version: number): RulesVersion {
    const path = this.path(version)
    try {
      const read = JSON.parse(readFileSync(path, 'utf8')) as RulesVersion
      parseRules(read.rules)
      if (read.version !== version) throw new Error(`says it is version ${read.version}`)
      return read
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw new Refusal(Code.NOT_FOUND, `rules version ${version}: there are ${listed(this.versions())}`)
      throw new Refusal(Code.DATA_LOSS, `${path}: ${(error as Error).message}`)
    }
  }

  /** Throws a Refusal ABORTED when somebody else added that version meanwhile, FAILED_PRECONDITION when it cannot be kept. */
  add(entry: RulesVersion): void {
    const path = this.path(entry.version)
    const half = join(this.folder, `.${entry.version}-${process.pid}`)
    try {
      mkdirSync(this.folder, { recursive: true })
      writeFileSync(half, `${JSON.stringify(entry, null, 2)}\n`, { flush: true })
      // A link does not replace a file that is there, as a rename would.
      linkSync(half, path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST')
        throw new Refusal(
          Code.ABORTED,
          `rules version ${entry.version} was published by somebody else; look, then again`,
        )
      const why = (error as Error).message
      throw new Refusal(Code.FAILED_PRECONDITION, `the rules cannot be kept (MILLRACE_STATE_FOLDER): ${why}`)
    } finally {
      rmSync(half, { force: true })
    }
  }

  private path(version: number): string {
    return join(this.folder, `${String(version).padStart(8, '0')}.json`)
  }
}

function listed(versions: readonly number[]): string {
  if (versions.length === 0) return 'none: nothing was published yet'
  return versions.length > 10 ? `${versions[0]} to ${versions.at(-1)}` : versions.join(', ')
}
