import { z } from 'zod'
import { Code, Refusal } from '@millrace/base'
import { messageOf } from '@millrace/workflow'

/** By subject, then by experiment; an experiment that is missing or null: the subject takes no part in it. */
export type SaidCells = ReadonlyMap<string, Readonly<Record<string, string | null>>>

export interface AllocationService {
  /** Rejects with a Refusal: DEADLINE_EXCEEDED when it takes too long, UNAVAILABLE when it says nothing that holds. */
  cells(experiments: readonly string[], subjects: readonly string[]): Promise<SaidCells>
}

const answerSchema = z.object({
  cells: z.record(z.string(), z.record(z.string(), z.union([z.string(), z.null()]))),
})

/** A platform that is asked as the README of @millrace/rules says, under Allocators. */
export function httpAllocationService(url: string, token: string, timeoutMs: number): AllocationService {
  const headers = {
    'content-type': 'application/json',
    ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
  }
  return {
    async cells(experiments, subjects) {
      const body = JSON.stringify({ experiments, subjects })
      try {
        const response = await fetch(url, {
          method: 'POST',
          headers,
          body,
          redirect: 'error',
          signal: AbortSignal.timeout(timeoutMs),
        })
        const text = await response.text()
        if (response.status !== 200) throw new Error(`it answers ${response.status}: ${text.slice(0, 200)}`)
        const { cells } = answerSchema.parse(JSON.parse(text))
        return new Map(Object.entries(cells))
      } catch (error) {
        if ((error as Error).name === 'TimeoutError')
          throw new Refusal(Code.DEADLINE_EXCEEDED, `no answer in ${timeoutMs} ms (MILLRACE_ALLOCATOR_TIMEOUT_MS)`)
        const cause = (error as Error).cause
        throw new Refusal(Code.UNAVAILABLE, messageOf(cause instanceof Error ? cause : error).slice(0, 500))
      }
    },
  }
}
