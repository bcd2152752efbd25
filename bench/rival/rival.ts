import type { PostTarget, Transport } from '@millrace/load'

/** What people use today to serve a model: one adapter each. */
export interface Rival {
  readonly name: string
  /** As its own documentation recommends, in a few words: workers, batching. */
  readonly about: string
  /** Why it cannot run here, such as a runtime that is not installed and the command that installs it; null: it can. */
  missing(): string | null
  /** Starts it on the model that all of them serve. Rejects when it does not answer in time. */
  start(model: RivalModel): Promise<RivalServer>
}

/** 64 floats to one score, the same file for all. */
export interface RivalModel {
  readonly onnx: string
  /** A folder for whatever the rival wants on a disk; empty. */
  readonly folder: string
}

export interface RivalServer {
  /** The process that it and all of its processes are under: its CPU is theirs. */
  readonly pid: number
  readonly ports: readonly number[]
  /** By name and number, such as `fastify 5.6.2`. */
  readonly versions: readonly string[]
  readonly transport: Transport
  /** Where POSTs go; left out for Millrace's own doors. */
  readonly post?: PostTarget
  /** A request of one row as the rival takes it: JSON, or whatever is its fastest. */
  encode(features: Float32Array, id: number): Uint8Array
  /** The score of one row, asked by itself: compared with Millrace's before anything is measured. */
  score(features: Float32Array): Promise<number>
  stop(): Promise<void>
}
