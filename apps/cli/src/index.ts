import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { ConfigError } from '@millrace/server'
import type { AdminOptions } from './ask-admin'
import { benchEngines, type BenchEnginesOptions } from './bench-engines/bench-engines'
import { benchSuite } from './bench-suite'
import { check, type CheckOptions } from './check'
import { config } from './config'
import { install, list, uninstall } from './engines/engines'
import { explain, type ExplainOptions } from './explain'
import { addFacts } from './facts/commands'
import { newWorkflow, type NewWorkflowOptions } from './new-workflow'
import { Exit, paint, UsageError } from './output'
import { addPlan } from './plan/commands'
import { pools, type PoolsOptions } from './pools'
import { restart } from './restart'
import {
  diffRules,
  listRules,
  publishRules,
  rollbackRules,
  rulesTypes,
  showRules,
  type PublishOptions,
  type RulesTypesOptions,
} from './rules'
import { replay, type ReplayOptions } from './replay'
import { score, type ScoreOptions } from './score'
import { serve } from './serve'
import { addShadow } from './shadow'
import { addTenants } from './tenants'

const { version } = JSON.parse(readFileSync(join(__dirname, '../package.json'), 'utf8')) as { version: string }

const examples = `
Examples:
  millrace serve --repository models
  millrace check models
  millrace score request.json
  millrace explain --objective title-ranking --subject account-42
  MILLRACE_LANES=auto millrace pools

Exit codes: 0 good, 1 the answer is no, 2 wrong usage.`

/** Runs the command line `argv` (as in process.argv); sets the exit code. */
export function main(argv: readonly string[]): void {
  // Before any thread is there: native TensorFlow would remark a dozen lines on every model.
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2'
  const program = new Command('millrace')
    .description('Hundreds of models behind one API. Servers are configured by environment variables: millrace config.')
    .version(version)
    .exitOverride()
    .showHelpAfterError('(--help shows the options)')
    .addHelpText('after', examples)
  const repository = [
    '-r, --repository <folder>',
    'repository of workflows; else MILLRACE_REPOSITORY, else the demo',
  ] as const
  const json = ['--json', 'print JSON'] as const

  program
    .command('serve')
    .description('serve a repository until SIGTERM')
    .option('--dev', 'reload when a file of the repository changes; what serves goes on until the change is good')
    .option(...repository)
    .action((options: { repository?: string; dev?: boolean }) => serve(options))
  program
    .command('score')
    .description('send a request from a JSON file and show the answer')
    .argument('<file>', 'a request, or a list of them, in the JSON twin of the wire; - for stdin')
    .option('-u, --url <url>', 'data port of the server', 'http://127.0.0.1:8080')
    .option('--token-file <file>', 'file with the key of a tenant; else MILLRACE_TOKEN')
    .option(...json)
    .action(async (file: string, options: ScoreOptions) => exit(await score(file, options)))
  program
    .command('replay')
    .description('send what servers recorded (MILLRACE_RECORD_FILE), at its own pace or faster')
    .argument('<file...>', 'recordings; those of several lanes together')
    .option('--speed <factor>', 'so many times as fast as it arrived', '1')
    .option('--sockets <number>', 'WebSockets, over all lanes alike', '4')
    .option('--token-file <file>', 'file with the key of a tenant; else MILLRACE_TOKEN')
    .option('-u, --url <url>', 'data port of the server', 'http://127.0.0.1:8080')
    .option(...json)
    .action(async (files: string[], options: ReplayOptions) => exit(await replay(files, options)))
  program
    .command('check')
    .description('load every version of a repository, run its golden requests on every engine, compile its rules')
    .argument('[repository]', 'its folder; else MILLRACE_REPOSITORY, else the demo')
    .option('-e, --engine <name>', 'on this engine only')
    .option(...json)
    .action(async (path: string | undefined, options: CheckOptions) => exit(await check(path, options)))
  program
    .command('new')
    .description('write something to begin with')
    .command('workflow')
    .description('write a workflow into a repository: typed, with a golden request, from a model where there is one')
    .argument('<name>', 'of the workflow')
    .option('-m, --model <file>', 'an .onnx file, the model.json of a TFJS model, or the folder of a SavedModel')
    .option('-r, --repository <folder>', 'repository that it is written to; else MILLRACE_REPOSITORY')
    .action(async (name: string, options: NewWorkflowOptions) => exit(await newWorkflow(name, options)))
  const rules = program
    .command('rules')
    .description('the rules of a server, while it serves (MILLRACE_ADMIN_TOKEN is sent where it is set)')
  const admin = ['-u, --url <url>', 'admin port of the server', 'http://127.0.0.1:8081'] as const
  const author = ['--author <name>', 'who; the name of this user unless said'] as const
  const note = ['--note <text>', 'why'] as const
  for (const parent of [program, rules])
    parent
      .command('explain')
      .description('which rule decides for a request, and why each other one does not')
      .argument('[file]', 'a request in the JSON twin; - for stdin')
      .option('-o, --objective <name>', 'instead of a file, or over its own')
      .option('-s, --subject <id>', 'who experiments allocate by')
      .option('-c, --context <name=value...>', 'attributes of the context')
      .option('--override <what>', 'asks for a version, price@2, or a cell, treatment or experiment/treatment')
      .option('--at <time>', 'as the rules decide then, such as 2026-11-24T09:00:00Z')
      .option('--live', 'by the rules of a server that runs, with the states of the versions on its lanes')
      .option('--id <id>', 'requests with this id that a server remembers, as they were decided')
      .option('--recent', 'the last requests that a server remembers, of --subject and --objective where given')
      .option(...repository)
      .option(...admin)
      .option(...json)
      .action(async (file: string | undefined, options: ExplainOptions) => exit(await explain(file, options)))
  rules
    .command('publish')
    .description('put the rules of a file in force, or say everything that is wrong with them')
    .argument('<file>', 'rules.json or rules.ts; - for stdin')
    .option('--check', 'only say what is wrong')
    .option(...author)
    .option(...note)
    .option(...admin)
    .option(...json)
    .action(async (file: string, options: PublishOptions) => exit(await publishRules(file, options)))
  rules
    .command('rollback')
    .description('put an earlier version in force again')
    .argument('[version]', 'the one before, unless said')
    .option(...author)
    .option(...note)
    .option(...admin)
    .option(...json)
    .action(async (version: string | undefined, options: PublishOptions) => exit(await rollbackRules(version, options)))
  rules
    .command('list')
    .description('every version, who made it and why, and lanes that lag')
    .option(...admin)
    .option(...json)
    .action(async (options: AdminOptions) => exit(await listRules(options)))
  rules
    .command('show')
    .description('the rules of a version')
    .argument('[version]', 'the one in force, unless said')
    .option(...admin)
    .action(async (version: string | undefined, options: AdminOptions) => exit(await showRules(version, options)))
  rules
    .command('diff')
    .description('what is different between two versions; exit 1 when anything is')
    .argument('<from>')
    .argument('[to]', 'the one in force, unless said')
    .option(...admin)
    .action(async (from: string, to: string | undefined, options: AdminOptions) =>
      exit(await diffRules(from, to, options)),
    )
  rules
    .command('types')
    .description(
      'the versions of a repository as a TypeScript type, with which a wrong one in rules.ts does not compile',
    )
    .option('--out <file>', 'written here; else to stdout')
    .option(...repository)
    .action((options: RulesTypesOptions) => exit(rulesTypes(options)))
  program
    .command('restart')
    .description('replace the lanes of a server, one after the other, while it serves (as SIGHUP does)')
    .option(...admin)
    .option(...json)
    .action(async (options: AdminOptions) => exit(await restart(options)))
  program
    .command('pools')
    .description('who sits where: lanes, threads and devices on the CPUs of this machine')
    .option('--live', 'ask the server on the admin port where its threads are, and compare')
    .option('--root <folder>', 'plan for another machine, of which this folder has /sys and /proc')
    .option(...repository)
    .option(...json)
    .action(async (options: PoolsOptions) => exit(await pools(options)))
  program
    .command('config')
    .description('every environment variable, its value, where it came from')
    .option(...repository)
    .option(...json)
    .action((options: { json?: boolean; repository?: string }) => exit(config(options)))
  const engines = program
    .command('engines')
    .description('the engines that models run on: which are here, what they run, on which devices')
    .option(...json)
    .action(async (options: { json?: boolean }) => exit(await list(options)))
  engines
    .command('install')
    .description('install tensorflow, which runs SavedModels and TFJS models natively; goes on where it was cut off')
    .argument('<engine>', 'tensorflow')
    .option('--gpu', 'with CUDA and cuDNN')
    .action(async (name: string, options: { gpu?: boolean }) => exit(await install(name, options)))
  engines
    .command('uninstall')
    .description('remove what install installed')
    .argument('<engine>', 'tensorflow')
    .action(async (name: string) => exit(await uninstall(name)))
  program
    .command('bench')
    .description('measure on this machine: every step of the road, latencies, scale, rivals; --help names the suites')
    .argument('[suite...]', 'what to measure, and its options')
    .helpOption(false)
    .allowUnknownOption()
    .action(async (_: string[], __: object, command: Command) => exit(await benchSuite(command.args)))
    .command('engines')
    .helpOption('-h, --help', 'display help for command')
    .description('which engine runs a workflow fastest, at each batch size, and whether their answers agree')
    .requiredOption('-w, --workflow <name>', 'name or name@version')
    .option('-p, --pool <name>', "whose device, engine threads and engines; the environment's first pool by default")
    .option('--quick', 'in a few seconds, with wider spread')
    .option(...repository)
    .option(...json)
    .action(async (options: BenchEnginesOptions) => exit(await benchEngines(options)))

  addFacts(program, exit)
  addTenants(program, exit)
  addPlan(program, exit)
  const shadow = addShadow(program, exit)

  for (const command of [...program.commands, ...rules.commands, ...shadow])
    // It asks a server, which may speak TLS and want to know who asks.
    if (command.options.some(({ long }) => long === '--url' || long === '--live'))
      command
        .option('--ca <file>', "PEM file of the authorities that signed the server's certificate")
        .option('--cert <file>', 'PEM file of the certificate that this client shows')
        .option('--key <file>', 'PEM file of its key')

  program.parseAsync(argv).catch(fail)
}

function exit(code: number): void {
  process.exitCode = code
}

function fail(error: unknown): void {
  if (error instanceof CommanderError) {
    // Help and version are good; commander has written everything else already.
    process.exitCode = error.exitCode === 0 ? Exit.good : Exit.usage
    return
  }
  process.stderr.write(
    `${paint('red', 'millrace', process.stderr)}: ${error instanceof Error ? error.message : String(error)}\n`,
  )
  process.exitCode = error instanceof UsageError || error instanceof ConfigError ? Exit.usage : Exit.no
}
