import Module from 'node:module'
import { join, relative, sep } from 'node:path'
import { runSeeds, type Simulation } from './seeds'
import { Tally } from './story'

/*
 * Bugs that are known, put into what was compiled: what a simulation does not find in them it would not find in what
 * somebody writes tomorrow.
 */

export interface Mutant {
  /** What is wrong then. */
  readonly what: string
  /** From the root of the repository. */
  readonly file: string
  /** There once. */
  readonly find: string
  readonly replace: string
}

/** Which seed found it, and by what; null: none. */
export interface Found {
  readonly seed: number
  readonly message: string
}

const root = join(__dirname, '../..')

/** Runs seeds of what `load` requires, with the bug in it, until one finds it. */
export async function hunt(mutant: Mutant, load: () => Simulation, count: number): Promise<Found | null> {
  const simulation = changed(mutant, load)
  const failure = await runSeeds(simulation, new Tally(), { from: 1, count })
  return failure && { seed: failure.seed, message: failure.error.message }
}

interface Compiling {
  _compile: (this: unknown, content: string, file: string) => unknown
}

/** What `load` requires, compiled anew with the bug in it. */
function changed({ what, file, find, replace }: Mutant, load: () => Simulation): Simulation {
  const modules = Module.prototype as unknown as Compiling
  const { _compile: compile } = modules
  let times = 0
  modules._compile = function (content, path) {
    if (relative(root, path).split(sep).join('/') !== file) return compile.call(this, content, path)
    times = content.split(find).length - 1
    return compile.call(
      this,
      content.replace(find, () => replace),
      path,
    )
  }
  try {
    forget()
    const simulation = load()
    if (times !== 1)
      throw new Error(`mutants.ts: '${find}' is ${times} times in ${file}; say how it looks where ${what}`)
    return simulation
  } finally {
    modules._compile = compile
    forget()
  }
}

/** What is required from here on is compiled anew, as far as it is ours. */
function forget(): void {
  for (const path of Object.keys(require.cache))
    if (path.startsWith(root) && !path.includes('node_modules')) delete require.cache[path]
}
