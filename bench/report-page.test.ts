import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeResults } from './report'
import { writeReportPage } from './report-page'

const folder = mkdtempSync(join(tmpdir(), 'millrace-report-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test('the report is one file with the tables and plots of all suites, in their order, that asks for nothing', () => {
  const plot = {
    name: 'cost',
    plot: {
      title: 'Cost <us>',
      x: { label: 'sockets' },
      y: { label: 'us' },
      lines: [{ name: 'CPU', points: [[1, 2]] }],
    },
  } as const
  const bars = {
    name: 'steps',
    plot: { title: 'Steps', y: { label: 'ns' }, groups: ['a'], bars: [{ name: 'step', values: [3] }] },
  }
  writeResults(folder, 'scale', { results: [1], text: 'a < b', plots: [plot, bars] })
  writeResults(folder, 'stage', { results: [2], text: 'the first' })
  const page = readFileSync(writeReportPage(folder, ['stage', 'scale']), 'utf8')
  expect(page.indexOf('the first')).toBeGreaterThan(0)
  expect(page.indexOf('the first')).toBeLessThan(page.indexOf('a &lt; b'))
  expect(page.match(/<svg /g)).toHaveLength(2)
  expect(page).toContain('Cost &lt;us&gt;')
  expect(page).not.toMatch(/<script|<link|src=|@import|url\(http/)
  const written = JSON.parse(readFileSync(join(folder, 'scale.json'), 'utf8')) as object
  expect(written).toMatchObject({
    machine: { cores: expect.any(Number) as number },
    results: [1],
    plots: ['scale-cost.svg', 'scale-steps.svg'],
  })
})
