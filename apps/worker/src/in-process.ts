// The worker without its thread, for whoever measures it.
export { createHandler, type Handler } from './handler'
export { Thread } from './thread'
