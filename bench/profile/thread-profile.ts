import type { Profiler } from 'node:inspector'

/** What a thread says of itself beside its profile. */
export interface ThreadProfile {
  /** `front`, or `pool-1` and so on. */
  readonly name: string
  /** CPU while it was profiled, by the kernel's account. */
  readonly cpuUs: number
}

/** Microseconds of CPU by step, the dearest first. */
export type Steps = readonly (readonly [step: string, us: number])[]

/** What a line of the stack belongs to: the first that matches. Names are those of the road in ARCHITECTURE.md. */
const rules: readonly (readonly [step: string, url: RegExp, name?: RegExp])[] = [
  ['verify', /wire\/dist\/(verify|request-view)/],
  ['match', /wire\/dist\/intake/, /match/i],
  ['match', /server\/dist\/read-context/],
  ['copy', /wire\/dist\/(intake|context-intake|copy-bytes)/],
  ['look up', /rules\/dist/],
  ['look up', /server\/dist\/(routing|route|decisions|complete)/],
  ['admit', /batch\/dist|server\/dist\/(calls|admission|limits)/],
  ['answer', /server\/dist\/(answers|reply-templates|partial-reply|mapping|tenant-counts|pool-limits)/],
  ['answer', /wire\/dist\/(encode|reply|generated)/],
  ['dispatch', /server\/dist\/dispatcher|pool\/dist|piscina/],
  ['facts', /facts\/dist|node_modules\/lmdb|workflow\/dist\/(facts|derived|fact-columns)/],
  ['score', /engine\/dist|node_modules\/(onnxruntime|@tensorflow)/],
  ['workflow', /workflow\/dist|repository\/workflows/],
  ['run', /worker\/dist/],
  ['receive and send', /server\/dist\/(uws|node)-transport|server\/dist\/(door|transport|json-twin|unread)/],
  ['road', /server\/dist/],
]
const programs = new Map([
  ['(garbage collector)', 'garbage collector'],
  ['(program)', 'outside JavaScript'],
  ['(root)', 'outside JavaScript'],
  ['(idle)', 'nothing'],
])
/** To begin and to end a profile takes longer than a request: it is in the samples, not in the CPU that is told. */
const profiler = /node:inspector/

/**
 * Each sample of a CPU profile is counted for the innermost function that a rule knows: what a native function or one of
 * Node's takes is its caller's. Samples are of time, not of CPU: the parts of what was not idle are taken of the CPU that
 * the kernel says.
 */
export function stepsOf(profile: Profiler.Profile, { cpuUs }: ThreadProfile): Steps {
  const parents = new Map<number, number>()
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]))
  for (const { id, children = [] } of profile.nodes) for (const child of children) parents.set(child, id)
  const known = new Map<number, string>()
  const stepOf = (id: number): string => {
    let step = known.get(id)
    if (step !== undefined) return step
    const { functionName, url } = nodes.get(id)!.callFrame
    const parent = parents.get(id)
    step =
      programs.get(functionName) ??
      (profiler.test(url) ? 'nothing' : undefined) ??
      rules.find(([, file, name]) => file.test(url) && (name?.test(functionName) ?? true))?.[0] ??
      (parent === undefined ? 'outside JavaScript' : stepOf(parent))
    known.set(id, step)
    return step
  }
  const times = new Map<string, number>()
  let busy = 0
  const { samples = [], timeDeltas = [] } = profile
  for (const [i, id] of samples.entries()) {
    const step = stepOf(id)
    if (step === 'nothing') continue
    const us = timeDeltas[i]!
    times.set(step, (times.get(step) ?? 0) + us)
    busy += us
  }
  return [...times].map(([step, us]) => [step, (us / busy) * cpuUs] as const).sort((a, b) => b[1] - a[1])
}
