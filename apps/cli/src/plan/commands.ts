import type { Command } from 'commander'
import { measureProfile, type MeasureOptions } from './measure'
import { planCommand, type PlanOptions } from './plan'

/** Adds `millrace plan ...`. */
export function addPlan(program: Command, exit: (code: number) => void): void {
  const many = (value: string, before: readonly string[] = []): string[] => [...before, value]
  const plan = program
    .command('plan')
    .description('how many machines it takes: lanes, pools, latencies, cost, from what was measured')
    .argument('[file]', 'the question, YAML or JSON; the options below stand for its fields, or are over them')
    .option('--profile <file>', 'what requests cost, as millrace plan measure wrote it')
    .option('--requests <number>', 'requests a second')
    .option('--p50 <ms>', 'median latency that is wanted')
    .option('--p99 <ms>', '99th percentile that is wanted')
    .option('--objective <name[:rows[:share]]>', 'of the requests; several with shares make a mix', many)
    .option(
      '--machine <name:cores:price[:gpus]>',
      'a type of machine and its price an hour; several are compared',
      many,
    )
    .option('--growth <percent>', 'how much more traffic the fleet is to carry')
    .option('--zones <number>', 'zones, of which one may be lost')
    .option('--fleet', 'simulate every lane of the fleet: even, uneven, with losses, during a deploy')
    .option('--json', 'print JSON')
    .action((file: string | undefined, options: PlanOptions) => exit(planCommand(file, options)))
  plan
    .command('measure')
    .description('measure what requests cost on this machine: engines alone, then a server under load')
    .option('--objective <name[:rows]>', 'only this one, with so many rows a request; several', many)
    .option('--traffic <file>', 'requests as a server recorded them (MILLRACE_RECORD_ONE_IN); else golden ones')
    .option('--out <file>', 'write it there; else it is printed')
    .option('--quick', 'in a fifth of the time, with wider spread')
    .option('-r, --repository <folder>', 'repository of workflows; else MILLRACE_REPOSITORY, else the demo')
    .option('--json', 'print JSON')
    .action(async (_: MeasureOptions, command: Command) =>
      // Options that `plan` has too are read as its own.
      exit(await measureProfile(command.optsWithGlobals())),
    )
}
