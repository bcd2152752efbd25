import { engines, installTensorflow as command } from '@millrace/engine'
import { Exit, paint, print, printJson, UsageError } from '../output'
import { installTensorflow } from './install-tensorflow'
import { listEngines, type EngineRow } from './list-engines'
import { showSteps } from './steps'
import { uninstallTensorflow } from './uninstall-tensorflow'

/** The engines that are installed by the command; the others come with `npm ci`. */
const installable = ['tensorflow']

/** Every engine: whether it is here, on which devices it computes, what it runs, how it is installed. */
export async function list({ json }: { json?: boolean }): Promise<number> {
  const rows = await listEngines(process.env)
  if (json === true) printJson(rows)
  else rows.forEach(show)
  return Exit.good
}

function show({ name, version, formats, devices, note, install }: EngineRow): void {
  const here = version !== null
  print(`${paint('bold', name.padEnd(12))} ${here ? paint('green', version) : paint('yellow', 'not here')}`)
  print(`  runs      ${formats.join(', ')}`)
  if (here)
    print(
      `  devices   ${
        devices
          .filter(({ works }) => works)
          .map(({ device }) => device)
          .join(', ') || 'none'
      }`,
    )
  for (const { device, works, reason } of devices)
    if (!works) print(paint('dim', `  ${device.padEnd(9)} no: ${reason}`))
  if (note !== null) print(`  note      ${note}`)
  if (install !== null) print(`  install   ${install}`)
}

/** Installs an engine; a second call goes on where the first was cut off. */
export async function install(name: string, { gpu }: { gpu?: boolean }): Promise<number> {
  checkName(name)
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void =>
    stop.abort(new Error(`${signal}: cut off; ${command} goes on from here`))
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  const began = performance.now()
  try {
    const { signal } = stop
    const steps = showSteps(process.stderr)
    const { install, already } = await installTensorflow({ env: process.env, gpu: gpu === true, signal, steps })
    const what = `TensorFlow ${install.version}${install.gpu ? ' with CUDA' : ''}`
    if (already) print(`${what} is in ${install.folder} already, and is as it was installed`)
    else print(`${what} is in ${install.folder}, ${Math.round((performance.now() - began) / 1000)} s`)
    return Exit.good
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
  }
}

export async function uninstall(name: string): Promise<number> {
  checkName(name)
  const removed = await uninstallTensorflow(process.env)
  print(removed ? `${name} is removed` : `${name} was not installed`)
  return Exit.good
}

function checkName(name: string): void {
  if (installable.includes(name)) return
  const known = engines.some((kind) => kind.name === name)
  throw new UsageError(
    known
      ? `${name} comes with npm ci; what is installed apart is ${installable.join(', ')}`
      : `there is no engine ${name}; what is installed apart is ${installable.join(', ')}`,
  )
}
