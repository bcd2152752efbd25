import { Command, InvalidArgumentError } from 'commander'
import { controlMutants } from './control/mutants'
import { hunt, type Mutant } from './mutants'
import { roadMutants } from './road/mutants'
import { simulateControl } from './control/simulate'
import { simulateRoad } from './road/simulate'
import { runSeeds, tellSeed, type Failure, type Simulation } from './seeds'
import { answered, devices } from './shadows'
import { Tally, Violation } from './story'

/** What can be simulated. */
const simulations: Readonly<Record<string, Simulation>> = { road: simulateRoad, control: simulateControl }
/** Seeds in which a known bug must be found. */
const huntedMax = 600

interface Options {
  readonly seed?: number
  readonly from: number
  readonly seeds: number
  readonly lines: number
}

const whole = (text: string): number => {
  const value = Number(text)
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('is not a whole number')
  return value
}

void new Command('npm run simulate --')
  .description(
    'Simulates what is served without sockets, threads or waiting: each seed is another load with its own accidents.\n' +
      'Runs until a seed breaks what must hold, and then tells what happened in it.',
  )
  .argument(
    '[what]',
    `${Object.keys(simulations).join(', ')}; or mutants: known bugs, each of which must be found; or shadows:\n` +
      'what requests notice of one that copies them all, at half of what a lane can do',
    'road',
  )
  .option('--seed <n>', 'replay this seed alone, with its story', whole)
  .option('--from <n>', 'the first seed', whole, Date.now() % 1_000_000_000)
  .option('--seeds <n>', 'how many; else until one fails', whole, Infinity)
  .option('--lines <n>', 'lines of the story that are shown, the last ones', whole, 60)
  .showHelpAfterError('(--help shows the options)')
  .addHelpText('after', '\nExit codes: 0 all seeds passed, 1 one failed, 2 wrong usage.')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .action(async (what: string, options: Options, command: Command) => {
    if (what === 'mutants') return await huntAll(Math.min(options.seeds, huntedMax))
    if (what === 'shadows') return tellShadows()
    const simulation = simulations[what]
    if (simulation === undefined) command.error(`there is no simulation '${what}'`)
    else await simulate(what, simulation, options)
  })
  .parseAsync()

async function simulate(what: string, simulation: Simulation, { seed, from, seeds, lines }: Options): Promise<void> {
  const tally = new Tally()
  const failure =
    seed === undefined
      ? await runSeeds(simulation, tally, {
          from,
          count: seeds,
          progress: (passed, seconds) => {
            const perMinute = Math.round((60 * passed) / seconds)
            process.stderr.write(`${what}: ${passed} seeds from ${from} on, ${perMinute} a minute\n`)
          },
        })
      : await tellSeed(simulation, seed)
  if (failure !== null) {
    console.log(told(what, failure, lines))
    process.exitCode = 1
    return
  }
  if (seed === undefined) console.log(table(tally))
  console.log(seed === undefined ? `${seeds} seeds from ${from} on passed` : `seed ${seed} passed`)
}

/** Says what requests notice of a shadow, on so many threads. */
function tellShadows(): void {
  for (const device of devices) {
    const { runUs, rowUs, rowsMax, seconds } = device
    console.log(`${runUs} us a batch and ${rowUs} a row, up to ${rowsMax} rows`)
    for (const threads of device.threads) {
      const without = answered(device, threads, false, 1, seconds)
      const shadowed = answered(device, threads, true, 1, seconds)
      const ratio = (shadowed.p99 / without.p99).toFixed(3)
      const copied = (100 * shadowed.copied).toFixed(1)
      console.log(
        `${threads} threads: median ${without.p50} us, with a shadow ${shadowed.p50}; ` +
          `99th percentile ${without.p99} us, with a shadow ${shadowed.p99}: ${ratio}; ${copied} % copied`,
      )
    }
  }
}

/** Says in which seed each known bug was found. */
async function huntAll(seeds: number): Promise<void> {
  /* eslint-disable @typescript-eslint/no-require-imports -- compiled anew, with the bug in it */
  const road = (): Simulation => (require('./road/simulate') as typeof import('./road/simulate')).simulateRoad
  const control = (): Simulation =>
    (require('./control/simulate') as typeof import('./control/simulate')).simulateControl
  /* eslint-enable @typescript-eslint/no-require-imports */
  const bugs: (readonly [Mutant, () => Simulation])[] = [
    ...roadMutants.map((mutant) => [mutant, road] as const),
    ...controlMutants.map((mutant) => [mutant, control] as const),
  ]
  for (const [mutant, load] of bugs) {
    const found = await hunt(mutant, load, seeds)
    if (found === null) process.exitCode = 1
    const by = found === null ? `NOT FOUND in ${seeds} seeds` : `seed ${found.seed}: ${found.message.slice(0, 100)}`
    console.log(`${mutant.what}\n    ${by}`)
  }
}

function told(what: string, { seed, error, story }: Failure, lines: number): string {
  const left = Math.max(0, story.lines.length - lines)
  return [
    ...(left > 0 ? [`(${left} lines before it: --lines ${story.lines.length})`] : []),
    ...story.lines.slice(-lines),
    '',
    `seed ${seed} fails: ${error instanceof Violation ? error.message : error.stack}`,
    `again: npm run simulate -- ${what} --seed ${seed}`,
  ].join('\n')
}

/** What happened, and how often. */
function table({ counts }: Tally): string {
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, times]) => `${String(times).padStart(10)}  ${what}`)
    .join('\n')
}
