import { describeConfig } from '@millrace/server'
import { configuration } from './configuration'
import { Exit, print, printJson, table } from './output'

/** Every variable, its value, where it came from. */
export function config({ json, repository }: { json?: boolean; repository?: string }): number {
  const rows = describeConfig(configuration(repository), process.env)
  if (json === true) printJson(rows)
  else
    print(
      table([
        ['variable', 'value', 'unit', 'from', 'meaning'],
        ...rows.map(({ name, value, unit, source, description }) => [name, value, unit, source, description]),
      ]),
    )
  return Exit.good
}
