import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { enginesFolder, tensorflowFolder, tensorflowLayout } from '@millrace/engine'
import { alone } from './staging'

/** Removes native TensorFlow, and what an install that was cut off left; answers whether there was anything. */
export async function uninstallTensorflow(env: NodeJS.ProcessEnv): Promise<boolean> {
  const folder = tensorflowFolder(env)
  const part = join(enginesFolder(env), '.part')
  if (!existsSync(folder) && !existsSync(part)) return false
  return await alone(enginesFolder(env), () => {
    // First, so that what is half removed is not taken for an install.
    rmSync(join(folder, tensorflowLayout.receipt), { force: true })
    for (const path of [folder, part]) rmSync(path, { recursive: true, force: true })
    return Promise.resolve(true)
  })
}
