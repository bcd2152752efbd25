import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Written } from './report'

/** Writes `report.html` of all results of a folder: tables and plots in one file, which needs nothing else to open. */
export function writeReportPage(folder: string, order: readonly string[]): string {
  const names = readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => file.slice(0, -'.json'.length))
    .sort((a, b) => order.indexOf(a) - order.indexOf(b) || a.localeCompare(b))
  const sections = names.map((name) => section(folder, name))
  const file = join(folder, 'report.html')
  writeFileSync(file, page(sections.join('\n')))
  return file
}

function section(folder: string, name: string): string {
  const { machine, text = '', plots = [] } = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Written
  const { date, command, commit, cpu, cores, memoryGiB, versions } = machine
  const known = Object.entries(versions).map(([what, version]) => `${what} ${version}`)
  const svgs = plots.map((plot) => join(folder, plot)).filter((file) => existsSync(file))
  return `<section>
<h2>${escape(name)}</h2>
<p><code>${escape(command)}</code><br>${escape(`${date}, commit ${commit}, ${cores} x ${cpu}, ${memoryGiB} GiB`)}<br>${escape(known.join(', '))}</p>
<pre>${escape(text)}</pre>
${svgs.map((file) => readFileSync(file, 'utf8')).join('\n')}
</section>`
}

function page(body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Millrace: what it costs</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem }
pre { overflow-x: auto; background: #f6f6f6; padding: 1rem; font-size: 13px }
svg { max-width: 100%; height: auto }
</style>
<h1>Millrace: what it costs</h1>
<p>Machines are shared and noisy: compare ratios within one run, never rates between runs.</p>
${body}
</html>
`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
