import Module from 'node:module'
import { join, relative, sep } from 'node:path'
import { runSeeds, type Simulation } from './seeds'
import { Tally } from './story'

/*
 * Bugs that are known, put into what was compiled: what a simulation does not find in them it would not find in what
 * somebody writes tomorrow.
 */

/** A change of what was compiled. */
export interface Edit {
  /** From the root of the repository. */
  readonly file: string
  /** There once. */
  readonly find: string
  readonly replace: string
}

export interface Mutant extends Edit {
  /** What is wrong then. */
  readonly what: string
  /** What must be wrong as well, where two places take care of one thing. */
  readonly and?: readonly Edit[]
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
function changed(mutant: Mutant, load: () => Simulation): Simulation {
  const edits: readonly Edit[] = [mutant, ...(mutant.and ?? [])]
  const modules = Module.prototype as unknown as Compiling
  const { _compile: compile } = modules
  const made = new Set<Edit>()
  modules._compile = function (content, path) {
    const here = edits.filter(({ file }) => relative(root, path).split(sep).join('/') === file)
    for (const edit of here) if (content.split(edit.find).length === 2) made.add(edit)
    const changed = here.reduce((text, { find, replace }) => text.replace(find, () => replace), content)
    return compile.call(this, changed, path)
  }
  try {
    forget()
    const simulation = load()
    const missed = edits.find((edit) => !made.has(edit))
    if (missed !== undefined)
      throw new Error(`mutants: '${missed.find}' is not once in ${missed.file}; say how it looks where ${mutant.what}`)
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
