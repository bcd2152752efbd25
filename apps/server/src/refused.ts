import type { Code } from '@millrace/base'

/** Why a request is not served: a value on the road, where a `Refusal` would be thrown. */
export interface Refused {
  readonly code: Code
  readonly message: string
}
