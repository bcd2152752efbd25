const done = new WeakSet<object>()

/**
 * Lets V8 inline what modules re-export, for all that are loaded by now: for a process or thread that is about to become hot.
 *
 * TypeScript writes a re-export as an accessor over what was a plain property a line before. To V8 that makes the whole
 * object a dictionary, and a call through it (`base_1.assert()`) is a look-up and two calls, each time. An object that is
 * another's prototype is a plain one again, accessors and all.
 */
export function inlineExports(): void {
  for (const { exports } of Object.values(require.cache) as { exports: unknown }[]) {
    if (typeof exports !== 'object' || exports === null || done.has(exports) || !('__esModule' in exports)) continue
    done.add(exports)
    // Who asks an heir what it inherits has that made plain.
    for (const name in Object.create(exports) as object) void name
  }
}
