import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Strings } from '@millrace/base'
import ts from 'typescript'
import { Lists } from './lists'
import * as steps from './steps/index'

/* The examples of README.md: they compile, they give what they say, and every step has one. */

const readme = readFileSync(join(__dirname, '../README.md'), 'utf8')
const examples = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!)

/** A line `expression // => value` of an example. */
const claim = /^(.*?) \/\/ => (.*)$/gm

const redPixel =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC'

/** Of two requests with a row each. */
function newBatch() {
  const refused = new Set<number>()
  const numbers = Strings.of([Int32Array.of(0, 2), Int32Array.of(1)].map((list) => new Uint8Array(list.buffer)))
  return {
    rows: 2,
    requestOf: Uint32Array.of(0, 1),
    inputs: {
      genres: new Lists('i32', numbers),
      image: Strings.of([Buffer.from(redPixel, 'base64'), 'no image']),
    },
    refuse: (request: number) => void refused.add(request),
    isRefused: (request: number) => refused.has(request),
  }
}

test('every step has an example', () => {
  const code = examples.join('\n')
  expect(Object.keys(steps).filter((name) => !code.includes(`steps.${name}(`))).toEqual([])
  expect(Object.keys(steps).filter((name) => !readme.includes(`**${name}**`))).toEqual([])
})

test.each(examples.map((code) => [code.match(/steps\.(?!Vocabulary|Piece)\w+/)![0], code]))('%s', async (_, code) => {
  const claims: [is: unknown, wanted: unknown][] = []
  const script = code.replace(claim, (_, is: string, wanted: string) => `claim(${is}, ${wanted})`)
  expect(script).not.toBe(code)
  const { outputText } = ts.transpileModule(`export default async () => { ${script} }`, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  })
  const exports: { default?: () => Promise<void> } = {}
  const keep = (is: unknown, wanted: unknown): void => void claims.push([plain(is), wanted])
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  const run = new Function('exports', 'steps', 'Strings', 'batch', 'claim', outputText) as (...all: unknown[]) => void
  run(exports, steps, Strings, newBatch(), keep)
  await exports.default!()
  for (const [is, wanted] of claims)
    if (!Array.isArray(wanted)) expect(is).toEqual(wanted)
    else {
      expect(is).toHaveLength(wanted.length)
      wanted.forEach((value: number, i) => expect((is as number[])[i]).toBeCloseTo(value, 5))
    }
})

test('the examples are typed', () => {
  const file = join(__dirname, 'readme-examples.ts')
  const source = [
    "import { Strings } from '@millrace/base'",
    "import { Lists } from './lists'",
    "import * as steps from './steps/index'",
    `declare const batch: { requestOf: Uint32Array; inputs: { genres: Lists<'i32'>; image: Strings }; ` +
      'refuse(request: number): void; isRefused(request: number): boolean }',
    ...examples.map((code) => `void (async () => { await Promise.resolve()\n${code.replace(claim, 'void ($1)')} })`),
  ].join('\n')
  const config = ts.readConfigFile(join(__dirname, '../../../tsconfig.base.json'), (path) => ts.sys.readFile(path))
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...(config.config as { compilerOptions: object }).compilerOptions, composite: false, noEmit: true },
    __dirname,
  )
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists } = host
  host.fileExists = (path) => path === file || fileExists(path)
  host.getSourceFile = (path, ...rest) =>
    path === file ? ts.createSourceFile(path, source, ts.ScriptTarget.ES2022) : getSourceFile(path, ...rest)
  const program = ts.createProgram([file], options, host)
  const problems = ts.getPreEmitDiagnostics(program, program.getSourceFile(file))
  expect(problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))).toEqual([])
}, 30_000)

function plain(value: unknown): unknown {
  return ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number | bigint>, Number) : value
}
