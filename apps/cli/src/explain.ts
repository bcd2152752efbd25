import type { RulesFile } from '@millrace/rules'
import { explainRequest, repositoryRules, type ExplainedRequest, type VersionStanding } from '@millrace/server'
import { readRepository } from '@millrace/workflow'
import type { AttributeValue } from '@millrace/base'
import { requestFromJson, type OverrideMessage, type RequestMessage } from '@millrace/wire'
import { askAdmin, type AdminOptions } from './ask-admin'
import { repositoryPath } from './configuration'
import { explainLive, explainRecent, standingRows } from './explain-live'
import { Exit, paint, print, printJson, table, UsageError } from './output'
import { readRequest } from './read-request'

export interface ExplainOptions extends AdminOptions {
  readonly objective?: string
  readonly subject?: string
  /** `name=value` each. */
  readonly context?: readonly string[]
  /** A version, `price@2`, or a cell, `treatment` or `experiment/treatment`. */
  readonly override?: string
  /** ISO 8601: as the rules decide then. */
  readonly at?: string
  readonly repository?: string
  /** By the rules of a server that runs, with the states of the versions. */
  readonly live?: boolean
  /** Requests that a server remembers: with this id, or all, of the subject and objective that are given. */
  readonly id?: string
  readonly recent?: boolean
}

/** Which rule decides for a request, and why each other one does not; exit 1 when none does. */
export async function explain(file: string | undefined, options: ExplainOptions): Promise<number> {
  if (options.id !== undefined || options.recent === true) return remembered(file, options)
  return options.live === true ? live(file, options) : ofRepository(file, options)
}

async function ofRepository(file: string | undefined, options: ExplainOptions): Promise<number> {
  const rules = await repositoryRules(readRepository(repositoryPath(options.repository)))
  const explained = explainRequest(rules, asked(file, options, rules), timeOf(options.at))
  return show(explained, rules, options)
}

async function live(file: string | undefined, options: ExplainOptions): Promise<number> {
  if (options.at !== undefined) throw new UsageError('--at: a server explains as it is now; leave --live out')
  const rules = (await askAdmin(options, 'GET', '/v1/rules')) as RulesFile
  const { objective, objectiveHash, subject, context, override } = asked(file, options, rules)
  const request = {
    objective,
    ...(objectiveHash === undefined ? {} : { objective_hash: String(objectiveHash) }),
    ...(subject === undefined ? {} : { subject: String(subject) }),
    context,
    ...(override === undefined ? {} : { override }),
  }
  return show(await explainLive(request, options), rules, options)
}

async function remembered(file: string | undefined, options: ExplainOptions): Promise<number> {
  if (file !== undefined || options.context !== undefined || options.override !== undefined || options.at !== undefined)
    throw new UsageError('--id and --recent: are of requests that came; --subject and --objective alone go with them')
  const { id, subject, objective } = options
  const requests = await explainRecent({ id, subject, objective }, options)
  if (options.json === true) printJson(requests)
  else
    for (const one of requests) {
      const context = Object.entries(one.context).map(([name, value]) => `${name}=${String(value)}`)
      const who = one.subject === null ? 'no subject' : `subject ${one.subject}`
      const said = [`request ${one.id}`, `lane ${one.lane}`, one.objective ?? 'no objective', who, ...context]
      print(`${one.at}, rules version ${one.rules_version}: ${said.join(', ')}`)
      print(`${text(one)}\n`)
    }
  return Exit.good
}

type Explained = ExplainedRequest & { readonly versions?: readonly VersionStanding[] }

function show(explained: Explained, { objectives }: RulesFile, { json }: ExplainOptions): number {
  const { decision, objective, refusal } = explained
  if (json === true) printJson(explained)
  else if (decision === null && refusal === null) {
    const names = Object.keys(objectives).join(', ')
    print(`${paint('red', 'none')}: there is no objective '${objective ?? ''}'; there are ${names}`)
  } else print(text(explained))
  return decision === null ? Exit.no : Exit.good
}

/** What decided, each rule with its reason, and how the versions stand. */
function text({ decision, refusal, rules, versions = [] }: Explained): string {
  const lines = [
    decision !== null
      ? `${paint('green', `${decision.workflow}@${decision.version}`)} by rule ${decision.rule}` +
        (decision.cell === null ? '' : `, cell ${decision.cell}`)
      : refusal !== null
        ? `${paint('red', refusal.code)}: ${refusal.message}`
        : `${paint('red', 'none')}: the objective was not known`,
    '',
    table([
      ['rule', 'kind', 'decides', 'because'],
      ...rules.map(({ rule, kind, matched, reason }) => [rule, kind, matched ? 'yes' : 'no', reason]),
    ]),
  ]
  if (versions.length > 0)
    lines.push('', table([['version', 'where', 'state', 'since', 'why'], ...standingRows(versions)]))
  return lines.join('\n')
}

function asked(file: string | undefined, options: ExplainOptions, rules: RulesFile): RequestMessage {
  const request: RequestMessage = file === undefined ? {} : requestFromJson(readRequest(file)).request
  const objective = options.objective ?? request.objective
  if (objective === undefined && request.objectiveHash === undefined)
    throw new UsageError('name a request file that has an objective, or --objective')
  const context = { ...request.context, ...contextOf(options.context ?? [], rules) }
  const override = options.override === undefined ? request.override : overrideOf(options.override)
  return { ...request, objective, subject: options.subject ?? request.subject, context, override }
}

function overrideOf(text: string): OverrideMessage {
  const version = /^(.+)@(\d+)$/.exec(text)
  if (version !== null) return { workflow: version[1]!, version: Number(version[2]) }
  const at = text.indexOf('/')
  return at < 0 ? { cell: text } : { cell: text.slice(at + 1), experiment: text.slice(0, at) }
}

/** As the rules declare their attributes: `age=18` is a number where age is one. */
function contextOf(
  pairs: readonly string[],
  { attributes = {} }: Pick<RulesFile, 'attributes'>,
): Record<string, AttributeValue> {
  return Object.fromEntries(
    pairs.map((pair): [string, AttributeValue] => {
      const at = pair.indexOf('=')
      if (at < 1) throw new UsageError(`--context ${pair}: is not name=value`)
      const [name, value] = [pair.slice(0, at), pair.slice(at + 1)]
      if (attributes[name] === 'number') return [name, Number(value)]
      return [name, attributes[name] === 'truth' ? value === 'true' : value]
    }),
  )
}

function timeOf(at: string | undefined): number {
  const ms = at === undefined ? Date.now() : Date.parse(at)
  if (Number.isNaN(ms)) throw new UsageError(`--at ${at}: is no time, such as 2026-11-24T09:00:00Z`)
  return ms
}
