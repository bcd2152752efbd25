import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { enginesFolder, tensorflowFolder, tensorflowLayout } from '@millrace/engine'
import { alone } from './staging'

/** Removes native TensorFlow and everything that came of it; answers whether there was anything. */
export async function uninstallTensorflow(env: NodeJS.ProcessEnv): Promise<boolean> {
  const folder = tensorflowFolder(env)
  // What was left half done, and the graphs that the engine wrote of TFJS models.
  const others = ['.part', 'graphs'].map((name) => join(enginesFolder(env), name))
  if (![folder, ...others].some((path) => existsSync(path))) return false
  return await alone(enginesFolder(env), () => {
    // First, so that what is half removed is not taken for an install.
    rmSync(join(folder, tensorflowLayout.receipt), { force: true })
    for (const path of [folder, ...others]) rmSync(path, { recursive: true, force: true })
    return Promise.resolve(true)
  })
}
