import { execFileSync } from 'node:child_process'

test('what a room re-exports is no dictionary to V8 afterwards', () => {
  const script = `
    const base = require('@millrace/base')
    base.inlineExports()
    console.log(%HasFastProperties(base), base.codeOf('OK'))`
  const flags = ['--allow-natives-syntax', '-e', script]
  expect(execFileSync(process.execPath, flags, { cwd: __dirname, encoding: 'utf8' }).trim()).toBe('true 0')
})
