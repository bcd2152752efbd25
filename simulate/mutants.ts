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

/** Bugs of the road. */
export const roadMutants: readonly Mutant[] = [
  {
    what: 'a slab is not given back',
    file: 'libs/batch/dist/queue.js',
    find: 'this.arena.release(batch.offset);',
    replace: 'if (batch.rows !== 3) this.arena.release(batch.offset);',
  },
  {
    what: 'a batch takes strings for which its slab has no room',
    file: 'libs/batch/dist/queue.js',
    find: ' && heapBytes <= open.heapLeft',
    replace: '',
  },
  {
    what: 'blocks of the arena do not come together again',
    file: 'libs/base/dist/arena.js',
    find: 'if (this.freeOrder[buddy] !== order + 1)',
    replace: 'if (order > 1 || this.freeOrder[buddy] !== order + 1)',
  },
  {
    what: 'a call is handed out twice',
    file: 'apps/server/dist/calls.js',
    find: 'this.used--;\n        this.spare.push(call);',
    replace: 'this.used--;\n        this.spare.push(call, call);',
  },
  {
    what: 'deadlines are forgotten while a batch runs',
    file: 'apps/server/dist/answers.js',
    find: 'else if (calls.deadlineUs[call] < nowUs)',
    replace: 'else if (false)',
  },
  {
    what: 'an answer is given after its deadline',
    file: 'apps/server/dist/answers.js',
    find: 'else if (this.nowUs > this.calls.deadlineUs[call])',
    replace: 'else if (false)',
  },
  {
    what: 'rows run that nobody waits for any more',
    file: 'libs/batch/dist/leave-out.js',
    find: 'if (dead > 0)',
    replace: 'if (dead > 1)',
  },
  {
    what: 'answers go to those whose rows were left out',
    file: 'libs/batch/dist/leave-out.js',
    find: 'call[kept] = call[r];',
    replace: '',
  },
  {
    what: 'the parts of a split answer are put together as they come',
    file: 'apps/server/dist/partial-reply.js',
    find: 'this.pieces.sort((a, b) => a.rowOfRequest - b.rowOfRequest);',
    replace: '',
  },
  {
    what: 'each part of a split request has its first rows',
    file: 'libs/wire/dist/intake.js',
    find: 'const first = whole ? 0 : fromRow;',
    replace: 'const first = 0;',
  },
  {
    what: 'an answer bears the id of the one before it',
    file: 'apps/server/dist/answers.js',
    find: 'template.words[template.id] = calls.idLo[call];',
    replace: '',
  },
  {
    what: 'an answer names the rules in force, not those that decided',
    file: 'apps/server/dist/answers.js',
    find: 'return this.calls.mapping[call].messages[this.calls.route[call]];',
    replace:
      'return (this.mapping.messages[this.calls.route[call]] ?? this.calls.mapping[call].messages[this.calls.route[call]]);',
  },
  {
    what: 'somebody who is gone is answered',
    file: 'apps/server/dist/answers.js',
    find: 'calls.answered(call);\n        if (!caller.closed)',
    replace: 'calls.answered(call);\n        if (true)',
  },
  {
    what: 'bulk goes before interactive',
    file: 'apps/server/dist/dispatcher.js',
    find: 'this.turns[p].isDue ? ',
    replace: 'true ? ',
  },
  {
    what: 'bulk waits for ever behind small interactive batches',
    file: 'apps/server/dist/dispatcher.js',
    find: 'this.turns[p].isDue ? ',
    replace: 'false ? ',
  },
  {
    what: 'bulk goes in turn with full batches of interactive rows',
    file: 'libs/batch/dist/bulk-turn.js',
    find: 'this.isDue = small;',
    replace: 'this.isDue = true;',
  },
  {
    what: 'a request is refused though the queue has room',
    file: 'apps/server/dist/road.js',
    find: 'queue.rowsWaiting + rows > queue.queueRowsMax',
    replace: 'queue.rowsWaiting + rows >= queue.queueRowsMax',
  },
  {
    what: 'a publish is not taken up',
    file: 'apps/server/dist/road.js',
    find: 'this.answers.mapping = new mapping_1.Mapping(routed,',
    replace: 'new mapping_1.Mapping(routed,',
  },
]

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
