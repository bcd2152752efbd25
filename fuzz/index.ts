import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { JsonTarget } from './json-target'
import { RoadTarget } from './road-target'
import { blockCases, CaseError, type Outcomes, type Target } from './target'
import { watch } from './watch'
import { WireTarget } from './wire-target'
import { World } from './world'

const help = `npm run fuzz -- [options]

  --target wire|road|json  what is tried; may be given several times, all of them otherwise
                           wire: verify, read, match, copy
                           road: a whole lane without sockets, with workflows that echo
                           json: the same with the JSON twin
  --cases N                messages for each target, rounded up to blocks of ${blockCases}
                           (wire 1000000, road 150000, json 30000: about a minute)
  --seed N                 of the messages; printed, made up otherwise
  --case N                 only the block that has this case, as a failure names it
  --file FILE              only the message in this file
  --help

What was found before is in fuzz/corpus, and tried first. A message that fails is written to fuzz/found.`

const targets: Readonly<Record<string, { readonly cases: number; open(): Promise<Target> }>> = {
  wire: {
    cases: 1_000_000,
    open: async () => {
      const world = await World.open()
      world.close()
      return new WireTarget(world.signatures)
    },
  },
  road: { cases: 150_000, open: () => RoadTarget.open() },
  json: { cases: 30_000, open: () => JsonTarget.open() },
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      target: { type: 'string', multiple: true, default: Object.keys(targets) },
      cases: { type: 'string' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
      case: { type: 'string' },
      file: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return console.log(help)
  const seed = whole('seed', values.seed)
  const first = values.case === undefined ? 0 : Math.floor(whole('case', values.case) / blockCases)
  for (const name of values.target) {
    const known = targets[name]
    if (known === undefined) throw new RangeError(`there is no target '${name}'\n\n${help}`)
    const cases = values.cases === undefined ? known.cases : whole('cases', values.cases)
    const last = values.case === undefined ? Math.ceil(cases / blockCases) : first + 1
    const target = await known.open()
    if (values.file !== undefined) await target.tryFile(readFileSync(values.file))
    else {
      for (const file of corpusOf(name)) await tried(name, target.tryFile(readFileSync(file)), () => `--file ${file}`)
      await run(name, target, seed, first, last)
    }
    target.close()
  }
}

async function run(name: string, target: Target, seed: number, first: number, last: number): Promise<void> {
  const outcomes: Outcomes = new Map()
  const begun = performance.now()
  let told = begun
  for (let block = first; block < last; block++) {
    const doing = `--target ${name} --seed ${seed} --case ${block * blockCases}`
    watch(doing)
    await tried(name, target.run(seed, block, outcomes), (n) => `--seed ${seed} --case ${n}`)
    if (performance.now() - told < 10_000) continue
    told = performance.now()
    console.error(`  ${name}: ${(block + 1 - first) * blockCases} of ${(last - first) * blockCases}`)
  }
  watch(null)
  const seconds = (performance.now() - begun) / 1000
  const cases = (last - first) * blockCases
  const counts = [...outcomes].sort((a, b) => b[1] - a[1]).map(([what, n]) => `${n} ${what}`)
  console.log(
    `${name}: ${cases} messages of seed ${seed} in ${seconds.toFixed(1)} s (${Math.round(cases / seconds)} a second): ` +
      counts.join(', '),
  )
}

/** Keeps what fails, and says how to see it again. */
async function tried(name: string, trying: Promise<void>, again: (n: number) => string): Promise<void> {
  try {
    await trying
  } catch (error) {
    if (!(error instanceof CaseError)) throw new Error(`${name}: ${(error as Error).stack}`)
    const folder = join(__dirname, '../found')
    mkdirSync(folder, { recursive: true })
    const file = join(folder, `${name}-${error.caseNumber}`)
    writeFileSync(file, error.bytes)
    throw new Error(
      `npm run fuzz -- --target ${name} ${again(error.caseNumber)}\n${error.message}\nthe message is in ${file}`,
    )
  }
}

function corpusOf(target: string): string[] {
  const folder = join(__dirname, '../corpus', target === 'json' ? 'json' : 'binary')
  return readdirSync(folder).map((file) => join(folder, file))
}

function whole(name: string, text: string): number {
  const number = Number(text)
  if (!Number.isSafeInteger(number) || number < 0) throw new RangeError(`--${name} ${text}: a whole number from 0 on`)
  return number
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  // What is held of the lanes would keep the process.
  process.exit(1)
})
