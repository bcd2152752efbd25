import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import type { Run } from '@millrace/load'
import { barsSvg, plotSvg } from './plot'
import type { Result } from './suite'

/** What a result was measured on: nothing is compared without it. */
export interface Machine {
  readonly date: string
  readonly command: string
  readonly commit: string
  /** Of what was measured, by package; `node` too. */
  readonly versions: Readonly<Record<string, string>>
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
}

export function machine(): Machine {
  return {
    date: new Date().toISOString().slice(0, 10),
    command: ['npm run bench --', ...process.argv.slice(2)].join(' '),
    commit: commit(),
    versions: versions(),
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  }
}

/** What is in a file of results. */
export interface Written {
  readonly machine: Machine
  readonly text?: string
  readonly results: unknown
  /** Files beside it. */
  readonly plots?: readonly string[]
}

/** Writes what a suite found as `<suite>.json` beside the machine that it is of, and its plots as SVG. Returns the file. */
export function writeResults(folder: string, suite: string, { text, results, plots = [] }: Result): string {
  mkdirSync(folder, { recursive: true })
  const measuredOn = machine()
  const { cores, cpu, versions, date } = measuredOn
  const subtitle = `${cores} x ${cpu}, shared; Node ${versions['node']}, ${date}`
  const files = plots.map(({ name, plot }) => {
    const file = `${suite}-${name}.svg`
    const svg = 'bars' in plot ? barsSvg({ subtitle, ...plot }) : plotSvg({ subtitle, ...plot })
    writeFileSync(join(folder, file), `${svg}\n`)
    return file
  })
  const file = join(folder, `${suite}.json`)
  const written: Written = { machine: measuredOn, results, text, plots: files }
  writeFileSync(file, `${JSON.stringify(written, null, 2)}\n`)
  return file
}

/** A table for people: the first row is its head. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const texts = rows.map((row) => row.map((cell) => (typeof cell === 'number' ? figure(cell) : cell)))
  const widths = texts[0]!.map((_, c) => Math.max(...texts.map((row) => row[c]!.length)))
  const lines = texts.map((row) =>
    row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  '),
  )
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '))
  return lines.join('\n')
}

/** Three significant digits below a thousand, whole numbers above. */
export function figure(n: number): string {
  if (!Number.isFinite(n)) return '-'
  return Math.abs(n) >= 1000 ? Math.round(n).toLocaleString('en') : String(Number(n.toPrecision(3)))
}

/** The least and the greatest. */
export function spread(values: readonly number[]): string {
  return `${figure(Math.min(...values))} to ${figure(Math.max(...values))}`
}

/** Whether the load generator was what was measured. */
export function marked(runs: readonly Run[]): string {
  const limited = runs.filter(({ generator }) => generator.limit !== null)
  if (limited.length === 0) return runs.every(({ warm }) => warm) ? '' : 'not warm'
  return limited.length === runs.length ? 'the limit' : `the limit in ${limited.length} of ${runs.length}`
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Packages that do the work. */
const packages = ['uWebSockets.js', 'onnxruntime-node', '@tensorflow/tfjs-core', 'piscina', 'lmdb'] as const

function versions(): Record<string, string> {
  const known: Record<string, string> = { node: process.version, millrace: versionIn(join(__dirname, '../..')) }
  for (const name of packages) known[name] = versionIn(join(__dirname, '../../node_modules', name))
  return known
}

function versionIn(folder: string): string {
  try {
    return (JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string }).version
  } catch {
    return 'unknown'
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim()
  } catch {
    return 'unknown'
  }
}
