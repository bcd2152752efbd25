import { styleText } from 'node:util'

/** Exit codes: what was asked is so; it is not; it was asked wrongly. */
export const Exit = { good: 0, no: 1, usage: 2 } as const

/** Wrong usage that argument parsing cannot see: exit 2. */
export class UsageError extends Error {}

type Style = 'green' | 'red' | 'yellow' | 'bold' | 'dim'

/** Coloured where `stream` is a terminal that wants it (https://no-color.org). */
export function paint(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  return stream.isTTY && process.env['NO_COLOR'] === undefined ? styleText(style, text) : text
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? String(one) : one), 2))
}

/** On stderr: what goes on is not what was asked. */
export function progress(text: string): void {
  process.stderr.write(`${paint('dim', text, process.stderr)}\n`)
}

/** Columns as wide as they need; the last one runs on. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, c) => Math.max(...rows.map((row) => row[c]!.length)))
  return rows
    .map((row) => row.map((cell, c) => (c === row.length - 1 ? cell : cell.padEnd(widths[c]!))).join('  '))
    .join('\n')
}
