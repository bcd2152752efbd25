import { fork, type ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { ModelFile, Tensors } from '@millrace/engine'
import { vulkanDriver } from '../../support/extras'

/** What a process needs in its environment to find the software Vulkan device. */
export const softwareVulkan = { VK_ICD_FILENAMES: vulkanDriver, LD_LIBRARY_PATH: '/usr/lib/chromium' }
/** No driver, whatever the machine has. */
export const noVulkan = { VK_ICD_FILENAMES: '/nonexistent/driver.json', VK_DRIVER_FILES: '/nonexistent/driver.json' }

/** Calls into a process that opens devices. Errors come back with their name and message. */
export class DeviceProcess {
  private readonly child: ChildProcess
  private readonly waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>()
  private nextId = 0

  constructor(env: Readonly<Record<string, string>>) {
    this.child = fork(join(__dirname, 'device-process-main.js'), {
      env: { ...process.env, ...env },
      execArgv: [],
      serialization: 'advanced',
      // Drivers talk.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    this.child.on('message', ({ id, answer, error }: { id: number; answer: unknown; error?: Error }) => {
      const { resolve, reject } = this.waiting.get(id)!
      this.waiting.delete(id)
      if (error) reject(Object.assign(new Error(error.message), { name: error.name }))
      else resolve(answer)
    })
    this.child.on('exit', (code, signal) => {
      for (const { reject } of this.waiting.values()) reject(new Error(`the process ended: ${signal ?? code}`))
    })
  }

  create = (engine: string, device: string, memoryBytes?: number) =>
    this.ask<null>('create', { engine, device, memoryBytes })
  load = (engine: string, device: string, file: ModelFile) => this.ask<number>('load', { engine, device, file })
  run = (model: number, inputs: Tensors) => this.ask<Tensors>('run', { model, inputs })

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once('exit', resolve))
    this.child.disconnect()
    await gone
  }

  private ask<T>(door: string, message: object): Promise<T> {
    const id = this.nextId++
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject })
      this.child.send({ id, door, message })
    })
  }
}
