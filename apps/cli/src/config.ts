import { describeConfig, memoryPlan, bytesOf } from '@millrace/server'
import { configuration } from './configuration'
import { Exit, print, printJson, table } from './output'

/** Every variable, its value, where it came from. */
export function config({ json, repository }: { json?: boolean; repository?: string }): number {
  const configured = configuration(repository)
  const rows = describeConfig(configured, process.env)
  if (json === true) {
    printJson(rows)
    return Exit.good
  }
  print(
    table([
      ['variable', 'value', 'unit', 'from', 'meaning'],
      ...rows.map(({ name, value, unit, source, description }) => [name, value, unit, source, description]),
    ]),
  )
  // At most, models and facts aside.
  const holders = memoryPlan(configured)
  const mib = (bytes: number): string => String(Math.ceil(bytes / 2 ** 20))
  print(
    `\n${table([
      ['memory, beside models and facts', 'MiB at most', 'taken', 'lower'],
      ...holders.map(({ what, bytes, reserved, variable }) => [what, mib(bytes), reserved ? 'always' : '', variable]),
      ['all of it', mib(bytesOf(holders)), '', ''],
    ])}`,
  )
  return Exit.good
}
