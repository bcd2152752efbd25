import { engineFor, type Engine, type EngineOptions, type Model, type ModelFile } from '@millrace/engine'

/** The engines of one thread, each created when the first model needs it. */
export class Engines {
  private readonly created = new Map<string, Promise<Engine>>()

  /** @param preferred engine names in order of preference, the only ones allowed; empty: all that are available */
  constructor(
    private readonly options: EngineOptions,
    private readonly preferred: readonly string[] = [],
    /** Called with all that enters native code. */
    private readonly native: <T>(work: () => Promise<T>) => Promise<T> = (work) => work(),
  ) {}

  get device(): string {
    return this.options.device
  }

  /** Rejects when no allowed engine takes the format (naming what installs one), or with the engine's own error. */
  async load(file: ModelFile): Promise<{ readonly model: Model; readonly engine: string }> {
    const kind = engineFor(file.format, this.preferred, this.options.device)
    let engine = this.created.get(kind.name)
    if (engine === undefined) {
      engine = kind.create(this.options)
      this.created.set(kind.name, engine)
    }
    const loaded = await engine
    const model = await this.native(() => loaded.load(file))
    return { model: this.guarded(model), engine: kind.name }
  }

  private guarded(model: Model): Model {
    const { inputs, outputs } = model
    return {
      inputs,
      outputs,
      run: (tensors) => this.native(() => model.run(tensors)),
      dispose: () => model.dispose(),
    }
  }

  async dispose(): Promise<void> {
    for (const engine of this.created.values()) (await engine).dispose()
    this.created.clear()
  }
}
