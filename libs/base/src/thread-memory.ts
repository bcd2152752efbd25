import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads'

const name = 'millrace.threads'

/** Bytes of `threadMemory`. */
export const threadMemoryBytes = 65_536

/** Gives the threads that this one starts from now on a memory in common, zeros at first. Once a process is enough. */
export function shareThreadMemory(): void {
  if (threadMemory() === null) setEnvironmentData(name, new SharedArrayBuffer(threadMemoryBytes))
}

/** What the threads of this process have in common; null where nobody gave it. Its one user: libs/engine, for graphs. */
export function threadMemory(): SharedArrayBuffer | null {
  const memory = getEnvironmentData(name)
  return memory instanceof SharedArrayBuffer ? memory : null
}
