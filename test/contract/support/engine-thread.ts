import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { Strings } from '@millrace/base'
import type { Availability, Inspection, ModelFile, Tensors, TensorSpec } from '@millrace/engine'

export interface LoadedModel {
  readonly model: number
  readonly inputs: readonly TensorSpec[]
  readonly outputs: readonly TensorSpec[]
}

/** Calls into a thread that runs engines. Errors come back with their name and message. */
export class EngineThread {
  private readonly worker = new Worker(join(__dirname, 'engine-thread-worker.js'), {
    // A test's environment is a copy of the process's, which the thread would get.
    env: { ...process.env },
  })
  private readonly waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>()
  private nextId = 0

  constructor() {
    this.worker.on('message', ({ id, answer, error }: { id: number; answer: unknown; error?: Error }) => {
      const { resolve, reject } = this.waiting.get(id)!
      this.waiting.delete(id)
      if (error) reject(Object.assign(new Error(error.message), { name: error.name }))
      else resolve(answer)
    })
    this.worker.on('error', (error) => {
      for (const { reject } of this.waiting.values()) reject(error)
    })
  }

  probe = (engine: string) => this.ask<Availability>('probe', { engine })
  create = (engine: string, options: { threads: number; device: string }) =>
    this.ask<null>('create', { engine, options })
  load = (engine: string, file: ModelFile) => this.ask<LoadedModel>('load', { engine, file })
  run = (model: number, inputs: Tensors) => this.ask<Tensors>('run', { model, inputs })
  runMany = (model: number, inputs: Tensors, times: number) => this.ask<Tensors>('runMany', { model, inputs, times })
  /** How many of the runs threw. */
  runFailing = (model: number, inputs: Tensors, times: number) =>
    this.ask<number>('runFailing', { model, inputs, times })
  /** Bytes of the whole process. */
  resident = () => this.ask<number>('resident', {})
  dispose = (model: number) => this.ask<void>('dispose', { model })
  inspect = (file: ModelFile, engines: readonly string[] = []) => this.ask<Inspection>('inspect', { file, engines })
  tensors = () => this.ask<number>('tensors', {})
  memory = () => this.ask<{ external: number; arrayBuffers: number }>('memory', {})
  /** What the thread warned of since it began. */
  warnings = () => this.ask<string[]>('warnings', {})
  listeners = () => this.ask<number>('listeners', {})
  end = () => this.worker.terminate()

  private ask<T>(door: string, message: object): Promise<T> {
    const id = this.nextId++
    return new Promise<T>((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (answer: unknown) => void, reject })
      this.worker.postMessage({ id, door, message })
    })
  }
}

/** The texts of a string tensor that came through a message, where it lost its class. */
export function textsOf(tensors: Tensors, name: string): string[] {
  const { spans, heap, length } = tensors[name]!.data as Strings
  return new Strings(spans, Buffer.from(heap.buffer, heap.byteOffset, heap.length), length).toArray()
}
