import type { RulesFile } from '@millrace/rules'
import { explainRequest, repositoryRules } from '@millrace/server'
import { readRepository } from '@millrace/workflow'
import type { AttributeValue } from '@millrace/base'
import { requestFromJson, type OverrideMessage, type RequestMessage } from '@millrace/wire'
import { repositoryPath } from './configuration'
import { Exit, paint, print, printJson, table, UsageError } from './output'
import { readRequest } from './read-request'

export interface ExplainOptions {
  readonly objective?: string
  readonly subject?: string
  /** `name=value` each. */
  readonly context?: readonly string[]
  /** A version, `price@2`, or a cell, `treatment` or `experiment/treatment`. */
  readonly override?: string
  /** ISO 8601: as the rules decide then. */
  readonly at?: string
  readonly repository?: string
  readonly json?: boolean
}

/** Which rule of a repository decides for a request, and why each other one does not; exit 1 when none does. */
export async function explain(file: string | undefined, options: ExplainOptions): Promise<number> {
  const rules = await repositoryRules(readRepository(repositoryPath(options.repository)))
  const explained = explainRequest(rules, asked(file, options, rules), timeOf(options.at))
  const { decision, objective, refusal, rules: steps } = explained
  if (options.json === true) printJson(explained)
  else if (decision === null && refusal === null) {
    const names = Object.keys(rules.objectives).join(', ')
    print(`${paint('red', 'none')}: there is no objective '${objective ?? ''}'; there are ${names}`)
  } else {
    if (decision === null) print(`${paint('red', refusal!.code)}: ${refusal!.message}\n`)
    else {
      const cell = decision.cell === null ? '' : `, cell ${decision.cell}`
      print(`${paint('green', `${decision.workflow}@${decision.version}`)} by rule ${decision.rule}${cell}\n`)
    }
    print(
      table([
        ['rule', 'kind', 'decides', 'because'],
        ...steps.map(({ rule, kind, matched, reason }) => [rule, kind, matched ? 'yes' : 'no', reason]),
      ]),
    )
  }
  return decision === null ? Exit.no : Exit.good
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
function contextOf(pairs: readonly string[], { attributes = {} }: RulesFile): Record<string, AttributeValue> {
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
