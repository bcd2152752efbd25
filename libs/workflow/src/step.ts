/**
 * Does one step of a load. A thread that serves meanwhile lets its batches run between the steps: engines and model
 * inputs belong to what runs.
 */
export type Step = <T>(work: () => Promise<T>) => Promise<T>

export const atOnce: Step = (work) => work()
