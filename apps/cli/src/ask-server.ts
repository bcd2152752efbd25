/** A server's answer, whatever its status; throws an Error that says what to look at when there is none. */
export async function askServer(url: URL, init: RequestInit, hint: string): Promise<Response> {
  try {
    return await fetch(url, init)
  } catch (error) {
    const { cause } = error as { cause?: { message?: string; code?: string } }
    // A refused connection says so in its code alone.
    const why = cause?.message || cause?.code || (error as Error).message
    throw new Error(`${url.href}: ${why}; ${hint}`, { cause: error })
  }
}
