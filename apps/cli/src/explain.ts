import { compileRules, explain as explainRules, lookUp, objectiveHash } from '@millrace/rules'
import { repositoryRules } from '@millrace/server'
import { readRepository } from '@millrace/workflow'
import { requestFromJson } from '@millrace/wire'
import { repositoryPath } from './configuration'
import { Exit, paint, print, printJson, table, UsageError } from './output'
import { readRequest } from './read-request'

export interface ExplainOptions {
  readonly objective?: string
  readonly subject?: string
  readonly repository?: string
  readonly json?: boolean
}

/** Which rule of a repository decides for a request, and why each other one does not; exit 1 when none does. */
export async function explain(file: string | undefined, options: ExplainOptions): Promise<number> {
  const { objective, subject } = asked(file, options)
  const repository = readRepository(repositoryPath(options.repository))
  const rules = await repositoryRules(repository)
  const compiled = compileRules(rules, repository.versions, rules.version ?? 1)
  const { lo, hi } = objectiveHash(objective)
  const bytes = Buffer.from(subject ?? '', 'utf8')
  const words = new Uint32Array(Math.ceil(bytes.length / 4))
  new Uint8Array(words.buffer).set(bytes)
  const route = lookUp(compiled, lo, hi, words, 0, bytes.length)
  const decision = route < 0 ? null : compiled.routes[route]!
  const explained = explainRules(compiled, lo, hi, words, 0, bytes.length)
  if (options.json === true) printJson({ objective, subject: subject ?? null, decision, rules: explained })
  else if (decision === null)
    print(`${paint('red', 'none')}: there is no objective '${objective}'; there are ${compiled.objectives.join(', ')}`)
  else {
    const cell = decision.cell === null ? '' : `, cell ${decision.cell}`
    print(`${paint('green', `${decision.workflow}@${decision.version}`)} by rule ${decision.rule}${cell}\n`)
    print(
      table([
        ['rule', 'kind', 'decides', 'because'],
        ...explained.map(({ rule, kind, matched, reason }) => [rule, kind, matched ? 'yes' : 'no', reason]),
      ]),
    )
  }
  return decision === null ? Exit.no : Exit.good
}

function asked(file: string | undefined, options: ExplainOptions): { objective: string; subject: string | undefined } {
  const { request } = file === undefined ? { request: {} } : requestFromJson(readRequest(file))
  const fields = request as { objective?: string; subject?: string | bigint }
  const objective = options.objective ?? fields.objective
  const subject = options.subject ?? (fields.subject === undefined ? undefined : String(fields.subject))
  if (objective === undefined) throw new UsageError('name a request file that has an objective, or --objective')
  return { objective, subject }
}
