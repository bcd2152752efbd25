// The worker without its thread, for whoever measures it.
export { createHandler, type Handler } from './handler'
export { Thread } from './thread'
export { FailureLog } from './failure-log'
export { SlabSink } from './slab-sink'
