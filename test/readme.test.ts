import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { variables } from '@millrace/server'

const readme = readFileSync(join(__dirname, '../README.md'), 'utf8')

describe('README', () => {
  it('begins with the two commands', () => {
    expect(readme).toMatch(/^# Millrace\n\n```sh\nnpm ci && npm start .*\nnpm ci && npm test .*\n```/)
  })

  it.each(variables.map((variable) => [variable.name, variable] as const))(
    'has %s as it is',
    (name, { default: value, unit, description }) => {
      const cells = [`\`${name}\``, value === '' ? '' : `\`${value}\``, unit, description]
      const row = readme.split('\n').find((line) => line.startsWith(`| \`${name}\``))
      expect(
        row
          ?.split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ).toEqual(cells)
    },
  )

  it('links to files that are there', () => {
    const links = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map((match) => match[1]!)
    expect(links.length).toBeGreaterThan(3)
    for (const link of links) expect(() => readFileSync(join(__dirname, '..', link))).not.toThrow()
  })
})
